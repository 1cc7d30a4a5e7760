"""The cache of finished models: a folder is complete or not there."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def is_complete(folder: Path) -> bool:
    """Whether the cache holds the model that belongs into `folder`; what `save` did not finish has another name."""
    return (folder / "config.json").exists()


def save(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write a checkpoint and move it into place in one step: a process that is killed leaves no half model."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        scratch.chmod(0o755)
        scratch.rename(folder)
    except OSError:
        if not is_complete(folder):  # otherwise another process was first, with the same bytes
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
