"""Where a corpus lies: a local path or any address that fsspec knows, such as `s3://bucket/prefix`.

A data set of the Hugging Face hub is `hf://datasets/ORG/NAME`. Keys and endpoints come from the environment (for S3
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL`), never from the address: addresses are recorded.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.corpus.address import KINDS, absolute, is_address, kind_of, kinds
from infra.corpus.shard import SourceFile, Unread
from revs.errors import BadInput

REMOTE_BLOCK = 8 << 20
# What the file systems call the state of a file's content; the surest first.
_VERSION_KEYS = ("ETag", "etag", "blob_id", "sha256", "md5", "crc32c", "mtime", "LastModified", "last_modified")


_NUMBERS = {FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES}


class Changed(OSError):
    """The file is no longer the one that was planned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What lies at a source: the name of the corpus, its files in order, the relative paths of those left out because
    of their kind, and what cannot be read whatever its kind.
    """

    name: str
    files: tuple[SourceFile, ...]
    ignored: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()


def file_system(source: str | Path) -> tuple[Any, str]:
    """The file system behind a source, and the path in it; nothing is asked of it yet.

    Raises:
        BadInput: as `absolute`, or nothing that reads such an address is installed.
    """
    from fsspec import filesystem
    from fsspec.core import url_to_fs

    address = absolute(source)
    if not is_address(address):  # a local name may hold what fsspec takes for a chain of addresses
        fs = filesystem("file")
        return fs, str(fs._strip_protocol(address))
    try:
        fs, path = url_to_fs(address)
    except (ValueError, ImportError):
        scheme = address.split("://")[0]
        raise BadInput(
            f"no file system for {scheme}:// is installed; install the fsspec package for it (for s3:// pip install "
            "'revs[s3]')"
        ) from None
    return fs, str(path)


def listing(source: str | Path) -> Listing:
    """The corpus files at a source, in order of their relative paths.

    Raises:
        BadInput: the source is missing, cannot be reached, is of another kind, or holds no corpus file.
    """
    fs, root = file_system(source)
    infos = _infos(fs, root, str(source))
    name = root.rstrip("/").rpartition("/")[2]
    if "" in infos:
        return _alone(name, infos[""], str(source))
    seen = {file for file in infos if kind_of(file) is not None and not _hidden(file)}
    files, left = [], []
    for file, info in infos.items():
        if isinstance(info, str) and (file in seen or info in _FOLDERS):
            left.append(Unread(file=file, reason=info, rows=None))
        elif not isinstance(info, str) and file in seen:
            files.append(_source_file(file, info))
    if not files and not left:
        raise BadInput(f"corpus folder {str(source)!r} holds no {kinds()} file; name a folder that does")
    named = {*(file.file for file in files), *(entry.file for entry in left)}
    return Listing(
        name=name, files=tuple(files), ignored=tuple(file for file in infos if file not in named), unread=tuple(left)
    )


def _alone(name: str, info: dict[str, Any] | str, source: str) -> Listing:
    """A source that is one file."""
    if isinstance(info, str):
        raise BadInput(f"corpus {source!r} is {info}; name a file or folder that can be read")
    if kind_of(name) is None:
        raise BadInput(f"corpus {source!r} is no {kinds()} file; convert it to one of these")
    if info["size"] is None:
        raise BadInput(f"corpus {source!r}: its server does not tell how long it is; copy it to a disk or an S3 store")
    return Listing(name=_stem(name), files=(_source_file(name, info),))


@contextmanager
def opened(source: str | Path, file: SourceFile) -> Iterator[Any]:
    """The file to be read, seekable; its every failure is an OSError, also of file systems with errors of their own.

    Raises:
        Changed: it is not the file that was planned, or was not when the block ended.
    """
    fs, _ = file_system(source)
    _check(fs, file)
    with _errors_of_the_system():
        handle = fs.open(file.path, "rb", block_size=REMOTE_BLOCK)
    try:
        yield _Guarded(handle)
    finally:
        handle.close()
    _check(fs, file)


def first_bytes(source: str | Path, file: SourceFile, size: int) -> bytes:
    """At most `size` bytes from the beginning of a file, without opening it for more; fails as `opened` does."""
    fs, _ = file_system(source)
    with _errors_of_the_system():
        return bytes(fs.cat_file(file.path, start=0, end=size))


class _Guarded(io.RawIOBase):
    """Reads as the handle does, and has one kind of failure."""

    def __init__(self, handle: Any) -> None:
        super().__init__()
        self._handle = handle

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with _errors_of_the_system():
            return bytes(self._handle.read(size))

    def seek(self, offset: int, whence: int = 0) -> int:
        with _errors_of_the_system():
            return int(self._handle.seek(offset, whence))

    def tell(self) -> int:
        return int(self._handle.tell())


@contextmanager
def _errors_of_the_system() -> Iterator[None]:
    """An error without a number, or of a client library, becomes an input-output error without foreign text."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        number = next((number for kind, number in _NUMBERS.items() if isinstance(error, kind)), errno.EIO)
        raise OSError(number, type(error).__name__) from None  # of the kind that belongs to the number


def _check(fs: Any, file: SourceFile) -> None:
    with _errors_of_the_system():
        fs.invalidate_cache(file.path.rpartition("/")[0])
        info = fs.info(file.path)
    if (info["size"], _version(info)) != (file.bytes, file.version):
        raise Changed(errno.ESTALE, "changed")


_SPECIAL = "no regular file (a pipe, socket or device)"
_NOWHERE = "a link to nothing"
_OUTSIDE = "a link to a folder outside the corpus, which is not followed"
_FORBIDDEN = "a folder that cannot be read"
_FOLDERS = (_OUTSIDE, _FORBIDDEN)


def _infos(fs: Any, root: str, source: str) -> dict[str, dict[str, Any] | str]:
    """What the file system gives of each file, or why it is none that is read, by relative path in their order.

    "" is the source itself, where it is no folder.
    """
    try:
        with _errors_of_the_system():
            fs.invalidate_cache()
            info = fs.info(root)
            if info["type"] == "file":
                return {"": info}
            if _on_disk(fs) and not os.path.isdir(root):
                return {"": _SPECIAL}
            found = dict(_below(fs, root))
            return {path[len(root.rstrip("/")) + 1 :]: found[path] for path in sorted(found)}
    except FileNotFoundError:
        hub = "" if "://" in source else "; a data set of the hub is hf://datasets/ORG/NAME"
        raise BadInput(f"corpus {source!r} does not exist; check the path{hub}") from None
    except OSError as error:
        raise BadInput(
            f"corpus {source!r} cannot be reached ({error.strerror}); check the address, your rights and the network"
        ) from None


def _on_disk(fs: Any) -> bool:
    return "file" in fs.protocol


def _below(fs: Any, root: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Every file under a folder; links to folders are not followed on a disk, so that no circle is walked."""
    if not _on_disk(fs):
        yield from ((path, info) for path, info in fs.find(root, detail=True).items() if info["type"] == "file")
        return
    closed: list[OSError] = []
    inside = os.path.join(os.path.realpath(root), "")
    for folder, folders, names in os.walk(root, onerror=closed.append):
        for path in (os.path.join(folder, name) for name in folders):
            if os.path.islink(path) and not os.path.join(os.path.realpath(path), "").startswith(inside):
                yield path, _OUTSIDE
        for path in (os.path.join(folder, name) for name in names):
            yield path, _info_on_disk(fs, path)
    yield from ((str(error.filename), _FORBIDDEN) for error in closed)


def _info_on_disk(fs: Any, path: str) -> dict[str, Any] | str:
    """Nothing is opened for it: opening a pipe would wait for whoever writes into it."""
    if os.path.isfile(path):
        try:
            return dict(fs.info(path))
        except OSError:
            return _NOWHERE
    return _SPECIAL if os.path.exists(path) else _NOWHERE


def _source_file(file: str, info: dict[str, Any]) -> SourceFile:
    return SourceFile(file=file, path=str(info["name"]), bytes=int(info["size"]), version=_version(info))


def _version(info: dict[str, Any]) -> str:
    return next((str(info[key]) for key in _VERSION_KEYS if info.get(key)), "")


def _hidden(relative: str) -> bool:
    return any(part.startswith(".") for part in relative.split("/"))


def _stem(name: str) -> str:
    suffix = next(suffix for suffix in sorted(KINDS, key=len, reverse=True) if name.lower().endswith(suffix))
    return name[: -len(suffix)] or name
