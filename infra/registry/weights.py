"""A digest of a checkpoint's weights that does not depend on how they are cut into files.

The digest is SHA-256 over the tensors in order of their names: the JSON of `[name, dtype, shape]`, a newline, the
number of bytes (8, little endian), the bytes. Sharding, file names and the order within a file leave it unchanged; one
bit of one weight changes it. Headers are read here rather than through torch: no tensor is ever built in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from revs.errors import BadInput

_CHUNK_BYTES = 1 << 20
_HEADER_LIMIT_BYTES = 100_000_000  # the limit of the safetensors format itself


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int  # bytes from the beginning of the file
    length: int  # bytes
    file: BinaryIO


def weight_digest(folder: Path) -> str:
    """Digest every tensor of every safetensors file directly inside `folder`.

    Returns:
        `"sha256:"` and 64 hex digits.

    Raises:
        BadInput: there is no safetensors file, one is damaged, or two of them hold the same tensor.
        OSError: a file cannot be read.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadInput(f"no .safetensors file in {folder}: save the model with save_pretrained()")
    digest = hashlib.sha256()
    with ExitStack() as stack:
        tensors: dict[str, _Tensor] = {}
        for path in files:
            for tensor in _tensors(path, stack.enter_context(path.open("rb"))):
                if tensor.name in tensors:
                    raise BadInput(f"tensor {tensor.name!r} is in two .safetensors files of {folder}: keep one of them")
                tensors[tensor.name] = tensor
        for name in sorted(tensors):
            _feed(digest, tensors[name])
    return f"sha256:{digest.hexdigest()}"


def require_same_weights(weights: str, lineage: Mapping[str, Any], evidence: Mapping[str, Any]) -> None:
    """Raise BadInput where lineage or evidence name other weights: what passed the gates must be what is registered."""
    claims = {"lineage": lineage.get("weights_after"), "evidence": (evidence.get("model") or {}).get("weights_after")}
    for where, claimed in claims.items():
        if claimed not in (None, weights):
            raise BadInput(
                f"the folder's weights are not those of the {where} (weights_after): register the model tested"
            )


def _tensors(path: Path, file: BinaryIO) -> Iterator[_Tensor]:
    size = path.stat().st_size
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, _HEADER_LIMIT_BYTES):
        raise _damaged(path)
    try:
        header: dict[str, dict[str, Any]] = json.loads(file.read(length))
        entries = [(name, entry) for name, entry in header.items() if name != "__metadata__"]
        found = [_tensor(name, entry, file, 8 + length) for name, entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _damaged(path) from None
    if any(tensor.length < 0 or tensor.start + tensor.length > size for tensor in found):
        raise _damaged(path)
    yield from found


def _tensor(name: str, entry: dict[str, Any], file: BinaryIO, data_start: int) -> _Tensor:
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
    tensor.file.seek(tensor.start)
    left = tensor.length
    while left:
        chunk = tensor.file.read(min(left, _CHUNK_BYTES))
        if not chunk:
            raise BadInput("a .safetensors file became shorter while it was read: leave the folder alone meanwhile")
        digest.update(chunk)
        left -= len(chunk)


def _damaged(path: Path) -> BadInput:
    return BadInput(f"{path} is not a whole safetensors file: save or copy the model again")
