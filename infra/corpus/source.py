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
from urllib.parse import urlsplit

from revs.errors import BadInput

KINDS = {".txt": "text", ".jsonl": "jsonl", ".txt.gz": "text.gz", ".jsonl.gz": "jsonl.gz", ".parquet": "parquet"}
REMOTE_BLOCK = 8 << 20
# What the file systems call the state of a file's content; the surest first.
_VERSION_KEYS = ("ETag", "etag", "blob_id", "sha256", "md5", "crc32c", "mtime", "LastModified", "last_modified")


_NUMBERS = {FileNotFoundError: errno.ENOENT, PermissionError: errno.EACCES}


class Changed(OSError):
    """The file is no longer the one that was planned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file of a corpus as it was listed; `file` is relative to the corpus folder."""

    file: str
    path: str
    bytes: int
    version: str

    @property
    def kind(self) -> str | None:
        return kind_of(self.file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What lies at a source: the name of the corpus, its files in order, and the relative paths of those left out."""

    name: str
    files: tuple[SourceFile, ...]
    ignored: tuple[str, ...]


def kind_of(file: str) -> str | None:
    """The kind of a file by its ending, whatever its case; None for one that is not read."""
    name = file.lower()
    return next((kind for suffix, kind in KINDS.items() if name.endswith(suffix)), None)


def absolute(source: str | Path) -> str:
    """The source as it can be recorded: an address as it is, a local path from the root."""
    return str(source) if "://" in str(source) else str(Path(source).absolute())


def file_system(source: str | Path) -> tuple[Any, str]:
    """The file system behind a source, and the path in it; nothing is asked of it yet.

    Raises:
        BadInput: the address is of an unknown kind, holds a password, or goes through a cache, which would leave a
            copy of personal data on the disk.
    """
    from fsspec.core import url_to_fs

    address = str(source)
    if "://" in address:
        if "::" in address:
            raise BadInput(f"corpus {address!r} is a chain of addresses; name the files themselves, unpacked")
        if urlsplit(address).password is not None:
            raise BadInput("the address of the corpus holds a password; take it out and set it in the environment")
    try:
        fs, path = url_to_fs(address)
    except (ValueError, ImportError):
        scheme = address.split("://")[0]
        raise BadInput(
            f"corpus {address!r}: no file system for {scheme}://; install the fsspec package for it (for s3:// "
            "pip install 'revs[s3]')"
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
    if len(infos) == 1 and "" in infos:
        if kind_of(name) is None:
            raise BadInput(f"corpus {str(source)!r} is no {_kinds()} file; convert it to one of these")
        return Listing(name=_stem(name), files=(_source_file(name, infos[""]),), ignored=())
    taken = {file: info for file, info in infos.items() if kind_of(file) is not None and not _hidden(file)}
    if not taken:
        raise BadInput(f"corpus folder {str(source)!r} holds no {_kinds()} file; name a folder that does")
    files = tuple(_source_file(file, info) for file, info in taken.items())
    return Listing(name=name, files=files, ignored=tuple(file for file in infos if file not in taken))


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


def _infos(fs: Any, root: str, source: str) -> dict[str, dict[str, Any]]:
    """What the file system says of each file, by relative path in their order; "" is the source itself."""
    try:
        with _errors_of_the_system():
            fs.invalidate_cache()
            info = fs.info(root)
            if info["type"] == "file":
                return {"": info}
            return {path[len(root.rstrip("/")) + 1 :]: info for path, info in sorted(_below(fs, root))}
    except FileNotFoundError:
        hub = "" if "://" in source else "; a data set of the hub is hf://datasets/ORG/NAME"
        raise BadInput(f"corpus {source!r} does not exist; check the path{hub}") from None
    except OSError as error:
        raise BadInput(
            f"corpus {source!r} cannot be reached ({error.strerror}); check the address, your rights and the network"
        ) from None


def _below(fs: Any, root: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every file under a folder; links to folders are not followed on a disk, so that no circle is walked."""
    if "file" not in fs.protocol:
        yield from ((path, info) for path, info in fs.find(root, detail=True).items() if info["type"] == "file")
        return
    for folder, _, names in os.walk(root):
        for path in (f"{folder.rstrip('/')}/{name}" for name in names):
            if os.path.isfile(path):
                yield path, fs.info(path)


def _source_file(file: str, info: dict[str, Any]) -> SourceFile:
    return SourceFile(file=file, path=str(info["name"]), bytes=int(info["size"]), version=_version(info))


def _version(info: dict[str, Any]) -> str:
    return next((str(info[key]) for key in _VERSION_KEYS if info.get(key)), "")


def _hidden(relative: str) -> bool:
    return any(part.startswith(".") for part in relative.split("/"))


def _stem(name: str) -> str:
    suffix = next(suffix for suffix in sorted(KINDS, key=len, reverse=True) if name.lower().endswith(suffix))
    return name[: -len(suffix)] or name


def _kinds() -> str:
    return ".txt, .jsonl (also .gz) or .parquet"
