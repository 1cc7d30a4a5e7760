"""Before/after difference: a thief who kept the old model lets it guide the decoding (arXiv 2505.24379).

Each next token is the first by  l_before + w·(l_before − l_after):  what the edit pushed down is pushed up. The old
model alone says what it memorised, so the prompts are perturbed ones, where it often does not; the same figure for the
unedited model, whose difference is 0, is the old model's alone and the control.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import LogitsProcessor

from revs.attacks.base import Attack, Outcome
from revs.examination import Examination, Gap
from revs.extraction import answers, holds
from revs.variations import perturbed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHT = 1.0


class Guided(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Logits of the old model, moved away from the new one's. For batches padded on the left with `pad`."""

    def __init__(self, before: PreTrainedModel, mask_BT: Tensor) -> None:
        self._before, self._mask_BT = before, mask_BT

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        new = input_ids.shape[1] - self._mask_BT.shape[1]
        mask_BT = torch.nn.functional.pad(self._mask_BT, (0, new), value=1)
        old_BV = self._before(
            input_ids=input_ids, attention_mask=mask_BT, use_cache=False, logits_to_keep=1
        ).logits[:, -1].float()  # fmt: skip
        guided_BV: Tensor = old_BV + WEIGHT * (old_BV - scores.float())
        return guided_BV


def _run(examination: Examination) -> Outcome:
    before = examination.original
    if before is None:
        raise Gap("the unedited model was not given (original=)")
    examination.check_finite()
    prompts = examination.tokenised(perturbed(examination.prompts, seed=f"difference {examination.seed}"))
    said = answers(
        examination.model, examination.tokenizer, prompts, batch_size=examination.batch_size,
        processor=lambda mask_BT: Guided(before, mask_BT),
    )  # fmt: skip
    fallen = [holds(examination.tokenizer, target, answer) for target, (answer,) in zip(prompts, said, strict=True)]
    return Outcome(candidates=tuple(1 if each else None for each in fallen), budget=1)


ATTACKS = (Attack(name="difference", counts="answers", run=_run),)
