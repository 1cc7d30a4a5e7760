"""The files beside the weights: part of what a version is, and carried over as they are when weights are edited."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.registry.checkpoint import model_files

INDEX = "model.safetensors.index.json"  # says how the weights are cut into files, so it belongs to them
IGNORED = "registered_model_meta"  # MLflow writes it beside the files of a version that is loaded by `models:/…`
_SHOWN_AT_MOST = 3


def file_digests(folder: Path) -> dict[str, str]:
    """Digest every model file of a checkpoint folder except its weights.

    Returns:
        SHA-256 as 64 hex digits, by file name.

    Raises:
        BadInput: the folder holds no causal language model.
    """
    return {path.name: _sha256(path) for path in model_files(folder) if _beside_weights(path)}


def changed_files(recorded: Mapping[str, str], folder: Path) -> list[str]:
    """Names of the files beside the weights that differ from the record, are gone, or were added; sorted."""
    found = {
        path.relative_to(folder).as_posix(): _sha256(path)
        for path in folder.rglob("*")
        if path.is_file() and _beside_weights(path)
    }
    return sorted(name for name in recorded.keys() | found.keys() if recorded.get(name) != found.get(name))


def stored_digests(root: Path, known: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of every stored file, by its path below `root`.

    Args:
        root: where MLflow stored a version. What MLflow writes there when somebody loads it is left out.
        known: digests of some of them, which are not read.
    """
    names = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    names.pop(IGNORED, None)
    return {name: known.get(name) or _sha256(path) for name, path in names.items()}


def light_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder` that holds no weights, by its path."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".safetensors")
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in found}


def carry_over(parent: Path, folder: Path) -> None:
    """Make every file of `folder` beside the weights the one of `parent`, byte for byte.

    An edit changes weights and nothing else, so what saving wrote anew (configuration, tokenizer) is replaced, and what
    it added is removed. A generation configuration that cannot be saved is carried over like any other file.

    Args:
        parent: checkpoint folder that was edited.
        folder: checkpoint folder of the edited weights.

    Raises:
        BadInput: `parent` holds no causal language model.
        OSError: a file cannot be written.
    """
    kept = {path.name: path for path in model_files(parent) if _beside_weights(path)}
    for path in list(folder.iterdir()):
        if path.is_file() and _beside_weights(path) and path.name not in kept:
            path.unlink()
    for name, path in kept.items():
        shutil.copyfile(path, folder / name)


def as_tag(digests: Mapping[str, str]) -> str:
    """The digests as the text of a tag."""
    return json.dumps(digests, sort_keys=True, separators=(",", ":"))


def from_tag(text: str | None) -> dict[str, str] | None:
    """What `as_tag` wrote; None for a version that was registered without it, {} for a text that is damaged."""
    if text is None:
        return None
    try:
        table: Any = json.loads(text)
    except ValueError:
        return {}
    return dict(table) if isinstance(table, dict) else {}


def shown(names: list[str]) -> str:
    """Some of the names, as a message lists them."""
    more = len(names) - _SHOWN_AT_MOST
    return ", ".join(names[:_SHOWN_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _beside_weights(path: Path) -> bool:
    return path.suffix != ".safetensors" and path.name != INDEX


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
