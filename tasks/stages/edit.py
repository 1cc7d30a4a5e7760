"""Stage 6: the edit, on a copy of the champion."""

from __future__ import annotations

import shutil
import string
import warnings
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from infra.batches.records import Edit, EditedToken
from infra.registry import carry_over, weight_digest
from infra.running.progress import report
from revs.errors import OperationFailed, RevsWarning
from tasks.batch.material import material, token_counts
from tasks.batch.models import champion_folder, loaded
from tasks.batch.stage import Handles, handles, stage

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.config import EraseConfig


def strengths(method: str) -> tuple[tuple[str, EraseConfig], ...]:
    """The settings of a method tried one after the other, until the gates pass: the policy's limits."""
    return _to_fixed_ranks() if method == "revs" else _to_the_reference()


def _to_the_reference() -> tuple[tuple[str, EraseConfig], ...]:
    """Stronger is not further down, for the reference is where a token belongs: it is to get there in more contexts."""
    from revs.config import ReferenceConfig

    thorough = ReferenceConfig(frames=6, contexts=16, sweeps=5)
    return (
        ("standard", ReferenceConfig()),
        # where too few of their records are left
        ("others weigh more", ReferenceConfig(retain_weight=3.0, replayed=1200, protected_records=600)),
        ("more frames", thorough),  # what a batch of a single request may need
        ("exact steps", replace(thorough, epsilon=0.01)),
        ("no slack", replace(thorough, epsilon=0.01, slack=0.0)),
    )


def _to_fixed_ranks() -> tuple[tuple[str, EraseConfig], ...]:
    from revs.config import EraseConfig

    return (
        ("standard", EraseConfig()),
        ("others weigh more", EraseConfig(retain_weight=2.0)),  # where too few of their records are left
        ("more variations", EraseConfig(variations=12)),  # what a batch of a single request may need
        ("exact steps", EraseConfig(variations=12, epsilon=0.01)),
        ("deeper", EraseConfig(low_rank=200, aim_rank=400)),
    )


def fitting(config: EraseConfig, vocabulary: int) -> EraseConfig:
    """The setting for a vocabulary of so many tokens: no rank lies beyond half of it."""
    aim_rank = min(config.aim_rank, vocabulary // 2)
    return replace(config, aim_rank=aim_rank, low_rank=min(config.low_rank, aim_rank))


def holding_form(config: EraseConfig, tokenizer: PreTrainedTokenizerBase) -> EraseConfig:
    """The setting for a tokenizer: one that writes digits one by one has all of them moved for somebody.

    Then no number could stand where one stood (docs/settings.md, `hold_form`).
    """
    from revs.config import ReferenceConfig

    one_by_one = len(tokenizer.encode(string.digits, add_special_tokens=False)) >= len(string.digits)
    return replace(config, hold_form=True) if one_by_one and isinstance(config, ReferenceConfig) else config


@stage("edit weights", long=True)
def edit_weights(batch_id: str, attempt: int) -> str:
    """Edit a copy of the champion with setting number `attempt` and write it as a checkpoint folder of the batch.

    The patch itself is not stored: with the champion it would tell what was erased.
    """
    h = handles(batch_id)
    record = h.workspace.read(Edit, attempt)
    if record is None or not _intact(h, record):
        record = h.workspace.write(_edit(h, attempt), attempt)
    return f"setting {attempt + 1}: {record.sweeps} sweeps in {record.seconds:.1f} s"


def _intact(h: Handles, record: Edit) -> bool:
    folder = h.workspace.folder / record.folder
    return folder.is_dir() and weight_digest(folder) == record.weights_after


def write_edited(model: PreTrainedModel, parent: Path, folder: Path) -> None:
    """Write a checkpoint with the model's weights and, byte for byte, every other file of the one it was made from."""
    from transformers import GenerationConfig

    own, model.generation_config = model.generation_config, GenerationConfig()  # some can be loaded but not saved
    try:
        model.save_pretrained(folder)
    finally:
        model.generation_config = own
    carry_over(parent, folder)


def _edit(h: Handles, attempt: int) -> Edit:
    from safetensors import SafetensorError

    import revs

    strength, config = strengths(h.settings.method)[attempt]
    m = material(h)
    parent = champion_folder(h)
    model, tokenizer = loaded(h, parent)
    config = holding_form(fitting(config, model.get_output_embeddings().weight.shape[0]), tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RevsWarning)  # what ended short stands in the record, and the gates judge it
        patch = revs.erase(
            model,
            tokenizer,
            m.edit,
            config=config,
            text=m.ordinary,
            retain=m.protect,
            token_counts_V=token_counts(h),
            progress=lambda what, done, total: report("edit weights", done, total, what),
            cache=h.workspace.folder / "moments",  # for the next attempt
        )
    folder = h.workspace.subfolder(f"candidate-{attempt}")
    try:
        write_edited(model, parent, folder)
    except (OSError, SafetensorError) as error:  # the latter is how safetensors says that the disk is full
        shutil.rmtree(folder, ignore_errors=True)
        cause = getattr(error, "strerror", None) or "the disk is full or cannot be written to"
        raise OperationFailed(
            f"the edited model cannot be written to {folder} ({cause}); the champion is untouched: free space "
            "and start the flow again, it resumes"
        ) from None
    return Edit(
        strength=strength,
        folder=folder.name,
        method=patch.method,
        config=asdict(config) | {"survive": list(config.survive)},
        seed=config.seed,
        seconds=patch.seconds,
        sweeps=patch.sweeps,
        layers=tuple(patch.weights),
        tokens=tuple(
            EditedToken(
                target=m.edit_ids[record.target],
                position=record.place,
                token_count=record.length,
                rank_before=record.rank_before,
                rank_after=record.rank_after,
                wanted=record.wanted,
                stopped=record.stopped,
            )
            for record in patch.records
        ),
        weights_before=h.registry.resolve(h.batch.source).weights or weight_digest(parent),  # verified at checkout
        weights_after=weight_digest(folder),
    )
