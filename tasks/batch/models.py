"""The models of a batch, on the device of the settings: the champion, read once from the registry, and candidates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from infra.device import resolve_device
from tasks.batch.stage import Handles

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def champion_folder(h: Handles) -> Path:
    """The verified checkpoint folder of the version the batch edits; a remote one is copied into the batch's folder."""
    return h.registry.checkout(h.registry.resolve(h.batch.source), h.workspace.folder / "champion")


def on_record(h: Handles, what: str) -> str | None:
    """The path or address that the batch's model was registered with: its "corpus", "held_out" text or "control"."""
    reference = h.registry.resolve(h.batch.source).tags.get(f"revs.{what}")
    return h.store.address(reference) if reference else None


def loaded(h: Handles, folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A checkpoint in the dtype it is stored in, on the device of the settings."""
    import revs

    return revs.load(folder, dtype="auto", device=resolve_device(h.settings.device))
