"""A digest of a checkpoint's weights that does not depend on how they are cut into files.

The digest is SHA-256 over the tensors in order of their names: the JSON of `[name, dtype, shape]`, a newline, the
number of bytes (8, little endian), the bytes. Sharding, file names and the order within a file leave it unchanged; one
bit of one weight changes it. Headers are read here rather than through torch: no tensor is ever built in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from revs.errors import BadInput

_CHUNK_BYTES = 1 << 20
_HEADER_LIMIT_BYTES = 100_000_000  # the limit of the safetensors format itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What one reading of a checkpoint's weights gave."""

    digest: str  # of the tensors, as `weight_digest` returns it
    files: Mapping[str, str]  # SHA-256 of each safetensors file as 64 hex digits, by its name


class _File:
    """SHA-256 of a file, fed with what is read of it anyway for as long as that comes in the file's own order."""

    def __init__(self, path: Path, file: BufferedReader, *, whole: bool) -> None:
        self.path, self.file = path, file
        self._digest, self._fed = (hashlib.sha256() if whole else None), 0

    def read(self, start: int, size: int) -> bytes:
        self.file.seek(start)
        data = self.file.read(size)
        if self._digest is not None and start == self._fed:
            self._digest.update(data)
            self._fed += len(data)
        return data

    def sha256(self) -> str | None:
        """The digest; None where it was not asked for. A file in another order is read once more."""
        if self._digest is None:
            return None
        if self._fed == os.fstat(self.file.fileno()).st_size:
            return self._digest.hexdigest()
        self.file.seek(0)
        return hashlib.file_digest(self.file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int  # bytes from the beginning of the file
    length: int  # bytes
    file: _File


def weight_digest(folder: Path) -> str:
    """Digest every tensor of every safetensors file directly inside `folder`.

    Returns:
        `"sha256:"` and 64 hex digits.

    Raises:
        BadInput: there is no safetensors file, one is damaged, or two of them hold the same tensor.
        OSError: a file cannot be read.
    """
    return _read(folder, whole=False).digest


def read_weights(folder: Path) -> Weights:
    """The same digest and those of the files, of one reading where each file holds its tensors in order of their names.

    So does what the safetensors library writes of tensors of one type; a file in another order is read twice.

    Raises:
        BadInput: as `weight_digest`.
        OSError: a file cannot be read.
    """
    return _read(folder, whole=True)


def changed_tensors(before: Path, after: Path) -> list[dict[str, str | None]]:
    """What an edit changed: the tensors that differ between two checkpoints, in order of their names.

    Args:
        before: checkpoint folder that was edited.
        after: checkpoint folder of the edited weights.

    Returns:
        Of each its `name`, and its digest `before` and `after`, as `weight_digest` makes that of a folder with this
        tensor alone; None on the side that lacks it. What is the same on both sides is compared and not digested.

    Raises:
        BadInput, OSError: as `weight_digest`.
    """
    with _opened(before, whole=False) as (old, _), _opened(after, whole=False) as (new, _):
        return [
            {"name": name, "before": _digest(old.get(name)), "after": _digest(new.get(name))}
            for name in sorted(old.keys() | new.keys())
            if not _same(old.get(name), new.get(name))
        ]


@contextmanager
def _opened(folder: Path, *, whole: bool) -> Iterator[tuple[dict[str, _Tensor], dict[str, _File]]]:
    """The tensors of a folder by name and its files by name, open meanwhile."""
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise BadInput(f"no .safetensors file in {folder}: save the model with save_pretrained()")
    with ExitStack() as stack:
        tensors: dict[str, _Tensor] = {}
        files = {path.name: _File(path, stack.enter_context(path.open("rb")), whole=whole) for path in paths}
        for file in files.values():
            for tensor in _tensors(file):
                if tensor.name in tensors:
                    raise BadInput(f"tensor {tensor.name!r} is in two .safetensors files of {folder}: keep one of them")
                tensors[tensor.name] = tensor
        yield tensors, files


def _read(folder: Path, *, whole: bool) -> Weights:
    digest = hashlib.sha256()
    with _opened(folder, whole=whole) as (tensors, files):
        for name in sorted(tensors):
            _feed(digest, tensors[name])
        digests = {name: found for name, file in files.items() if (found := file.sha256()) is not None}
    return Weights(digest=f"sha256:{digest.hexdigest()}", files=digests)


def require_same_weights(weights: str, lineage: Mapping[str, Any], evidence: Mapping[str, Any]) -> None:
    """Raise BadInput where lineage or evidence name other weights: what passed the gates must be what is registered."""
    claims = {"lineage": lineage.get("weights_after"), "evidence": (evidence.get("model") or {}).get("weights_after")}
    for where, claimed in claims.items():
        if claimed not in (None, weights):
            raise BadInput(
                f"the folder's weights are not those of the {where} (weights_after): register the model tested"
            )


def _tensors(file: _File) -> Iterator[_Tensor]:
    path, size = file.path, file.path.stat().st_size
    length = int.from_bytes(file.read(0, 8), "little")
    if size < 8 or length > min(size - 8, _HEADER_LIMIT_BYTES):
        raise _damaged(path)
    try:
        header: dict[str, dict[str, Any]] = json.loads(file.read(8, length))
        entries = [(name, entry) for name, entry in header.items() if name != "__metadata__"]
        found = [_tensor(name, entry, file, 8 + length) for name, entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(path) from None
    if any(tensor.length < 0 or tensor.start + tensor.length > size for tensor in found):
        raise _damaged(path)
    yield from found


def _tensor(name: str, entry: dict[str, Any], file: _File, data_start: int) -> _Tensor:
    start, end = entry["data_offsets"]
    return _Tensor(
        name=name,
        dtype=entry["dtype"],
        shape=tuple(entry["shape"]),
        start=data_start + start,
        length=end - start,
        file=file,
    )


def _feed(digest: hashlib._Hash, tensor: _Tensor) -> None:
    head = json.dumps([tensor.name, tensor.dtype, list(tensor.shape)], separators=(",", ":"))
    digest.update(head.encode() + b"\n" + tensor.length.to_bytes(8, "little"))
    for chunk in _chunks(tensor):
        digest.update(chunk)


def _digest(tensor: _Tensor | None) -> str | None:
    if tensor is None:
        return None
    digest = hashlib.sha256()
    _feed(digest, tensor)
    return f"sha256:{digest.hexdigest()}"


def _same(one: _Tensor | None, other: _Tensor | None) -> bool:
    if one is None or other is None or (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return all(a == b for a, b in zip(_chunks(one), _chunks(other), strict=True))


def _chunks(tensor: _Tensor) -> Iterator[bytes]:
    """The bytes of a tensor, so many at once that those of two tensors of one length are cut alike."""
    for place in range(tensor.start, end := tensor.start + tensor.length, _CHUNK_BYTES):
        chunk = tensor.file.read(place, size := min(end - place, _CHUNK_BYTES))
        if len(chunk) < size:
            raise BadInput("a .safetensors file became shorter while it was read: leave the folder alone meanwhile")
        yield chunk


def _damaged(path: Path) -> BadInput:
    return BadInput(f"{path} is not a whole safetensors file: save or copy the model again")
