"""A patch applied to a checkpoint folder, without loading the model: at most one weight is in memory.

An edit changes no name, shape or dtype, so a safetensors file keeps its header and every byte outside the edited
tensors: a shard with an edited weight is copied and the weight's bytes are overwritten in the copy; the other shards
are linked. The new folder appears under its name when it is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from revs.errors import BadInput, OperationFailed
from revs.patch.changes import Changes

_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
# Other forms of the weights beside the safetensors files: they still hold what was erased.
_OTHER_WEIGHTS = (
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf", ".ggml", ".onnx", ".ot", ".npz", ".pkl",
    ".index.json",
)  # fmt: skip


def rewrite_checkpoint(source_folder: str | Path, changes: Changes, out_folder: str | Path) -> Path:
    """Write a copy of a checkpoint with the changes of a patch applied; the source is only read.

    Weights are looked up by the names of the patch, which are those of `save_pretrained`, or without their first part:
    published GPT-2 and BLOOM checkpoints have `h.0.…` for `transformer.h.0.…`. Shards without an edited
    weight are hard links to the source's where the file system allows it, so write into neither in place. Left out
    are subfolders and weights in other forms (pickles, GGUF, shards that no index names): they hold the old values.

    Args:
        source_folder: a folder with `model.safetensors`, or with an index and its shards.
        changes: made on exactly these weights, in the dtype they are stored in.
        out_folder: new, or empty.

    Returns:
        `out_folder`.

    Raises:
        BadInput: the target is not empty; the source has no safetensors files, lacks a shard or a weight, or holds
            other weights than the patch was made on. Nothing is left behind.
        OperationFailed: the disk failed or is full, or the patch is damaged. Nothing is left behind.
    """
    source, out = Path(source_folder), Path(out_folder)
    _require_empty(out, "edited checkpoint")
    homes = weight_files(source)
    stored = stored_names(source, changes, homes)
    partial = out.parent / f".{out.name}.{token_hex(4)}.partial"
    try:
        files = [path for path in sorted(source.iterdir()) if path.is_file()]
        partial.mkdir(parents=True)
        for path in files:
            _carry_over(path, partial / path.name, changes, homes, stored)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    except OSError as error:
        raise OperationFailed(
            f"the edited checkpoint cannot be written to {out} ({error.strerror or type(error).__name__}); nothing was "
            "left there and the source is untouched: free space or choose another disk, then try again"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def private_folder(folder: str | Path, what: str) -> Path:
    """A new or empty folder that only its owner may look into.

    Raises:
        BadInput: it exists and is not empty, is a file, or cannot be made.
    """
    folder = Path(folder)
    try:
        _require_empty(folder, what)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)  # mkdir's mode is lost on a folder that existed
    except OSError as error:
        raise BadInput(f"the folder {folder} cannot be made ({error.strerror}); save the {what} elsewhere") from None
    return folder


def _require_empty(folder: Path, what: str) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInput(f"{folder} is not an empty folder; save the {what} into a new one")


def weight_files(folder: Path) -> dict[str, Path]:
    """The file of every weight of a checkpoint, by name; as in transformers, a single file goes before an index.

    Raises:
        BadInput: there are no safetensors files, one is missing, or the index is damaged.
    """
    single, index = folder / _SINGLE, folder / _INDEX
    if single.is_file():
        return dict.fromkeys(_header(single)[1], single)
    if not index.is_file():
        raise BadInput(
            f"{folder} has neither {_SINGLE} nor {_INDEX}: weights are read from safetensors only, never from pickles; "
            "save the model again with save_pretrained()"
        )
    try:
        weight_map: dict[str, str] = dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(f"{index} is not an index of shards; take an unchanged copy of the checkpoint") from None
    for shard in sorted(set(map(str, weight_map.values()))):
        if shard != Path(shard).name or not (folder / shard).is_file():
            raise BadInput(f"{folder} lacks the shard {shard} that its index names; complete the checkpoint")
    return {name: folder / shard for name, shard in weight_map.items()}


def stored_names(folder: Path, names: Iterable[str], homes: Mapping[str, Path]) -> dict[str, str]:
    """Under which name a checkpoint has each weight: its own, or that of the model without its head.

    Checkpoints of models without a head (`GPT2Model`) lack the prefix (`transformer.`) that the model with one has;
    transformers loads both. That the weight is the right one, its digest tells.

    Raises:
        BadInput: it has a weight under neither.
    """
    found = {}
    for name in names:
        bare = name.partition(".")[2]
        if name not in homes and bare not in homes:
            raise BadInput(f"{folder} has no weight {name}; give the checkpoint that the patch was made on")
        found[name] = name if name in homes else bare
    return found


def read_weight(path: Path, name: str) -> Tensor:
    """One tensor of a safetensors file.

    Raises:
        BadInput: the file is damaged or has no such tensor.
    """
    try:
        with safe_open(path, framework="pt") as tensors:
            tensor: Tensor = tensors.get_tensor(name)
            return tensor
    except SafetensorError:
        raise BadInput(f"{path} holds no readable weight {name}; take an unchanged copy of the checkpoint") from None


def _header(path: Path) -> tuple[int, dict[str, Any]]:
    """Where the data of a safetensors file begins, and what is said of each tensor."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError
            about = dict(json.loads(file.read(length)))
    except (ValueError, TypeError):
        raise BadInput(f"{path} is no safetensors file; take an unchanged copy of the checkpoint") from None
    about.pop("__metadata__", None)
    return 8 + length, about


def _carry_over(
    path: Path, target: Path, changes: Changes, homes: Mapping[str, Path], stored: Mapping[str, str]
) -> None:
    """Copy, link, rewrite or leave out one file of the source."""
    weights = [name for name in changes if homes[stored[name]] == path]
    if any(changes[name].changed for name in weights):
        _rewrite(path, target, changes, weights, stored)
    elif path in homes.values():
        for name in weights:  # not changed, but part of the base
            changes[name].exchange(name, read_weight(path, stored[name]), "apply")
        _link(path, target)
    elif not path.name.endswith(_OTHER_WEIGHTS) or (
        path.name == _INDEX and path.parent / _SINGLE not in homes.values()
    ):
        shutil.copyfile(path, target)


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path.resolve(), target)  # a hub's cache keeps links to files: link the file
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(path, target)


def _rewrite(path: Path, target: Path, changes: Changes, names: list[str], stored: Mapping[str, str]) -> None:
    start, about = _header(path)
    shutil.copyfile(path, target)
    with target.open("r+b") as file:
        for name in names:
            edited = changes[name].exchange(name, read_weight(path, stored[name]), "apply")
            file.seek(start + about[stored[name]]["data_offsets"][0])
            file.write(edited.contiguous().flatten().view(torch.uint8).numpy().data)
        file.flush()
        os.fsync(file.fileno())
