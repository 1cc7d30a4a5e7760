"""Before/after difference: an adversary who kept the old model lets it guide the decoding (arXiv 2505.24379).

Each next token is the first by  l_before + w·(l_before − l_after):  what the edit pushed down is pushed up. The old
model alone generates what it memorised, so the prompts are perturbed ones, where it often does not; the control is the
same figure for the unedited model, whose difference is 0: the old model alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from revs.errors import Gap
from revs.evaluation.attacks.base import Attack, Outcome
from revs.evaluation.context import Examination
from revs.evaluation.decoding import answers, holds, positions_of
from revs.model.hooks import evaluating
from revs.model.offload import input_device
from revs.targets.variations import perturbed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WEIGHT = 1.0


class Guided(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Logits of the old model, moved away from the new one's, for one batch padded on the left.

    What the old model has read stays in its cache; each step reads the newest token alone.
    """

    def __init__(self, before: PreTrainedModel, mask_BT: Tensor) -> None:
        self._before, self._mask_BT = before, mask_BT
        self._options: dict[str, Any] = {}
        self._read = 0  # positions that are in the cache

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        device = input_device(self._before)
        new = input_ids.shape[1] - self._mask_BT.shape[1]
        mask_BT = torch.nn.functional.pad(self._mask_BT, (0, new), value=1).to(device)
        with torch.no_grad(), evaluating(self._before):
            out = self._before(
                input_ids=input_ids[:, self._read :].to(device), attention_mask=mask_BT, use_cache=True,
                logits_to_keep=1, **positions_of(self._before, mask_BT, first=self._read), **self._options,
            )  # fmt: skip
        self._options, self._read = {"past_key_values": out.past_key_values}, input_ids.shape[1]
        old_BV, new_BV = out.logits[:, -1].float().to(scores.device), scores.float()
        guided_BV: Tensor = old_BV + WEIGHT * (old_BV - new_BV)
        return guided_BV


def _run(examination: Examination) -> Outcome:
    before = examination.original
    if before is None:
        raise Gap("the unedited model was not given (original=)")
    sizes = [model.get_output_embeddings().weight.shape[0] for model in (before, examination.model)]
    if sizes[0] != sizes[1]:
        raise Gap(f"the unedited model has {sizes[0]} tokens, and this one {sizes[1]}")
    examination.check_finite()
    prompts = examination.tokenised(perturbed(examination.prompts, seed=f"difference {examination.seed}"))
    generated = answers(
        examination.model, examination.tokenizer, prompts, batch_size=examination.batch_size,
        processor=lambda mask_BT: Guided(before, mask_BT),
    )  # fmt: skip
    fallen = [
        holds(examination.tokenizer, target, answer) for target, (answer,) in zip(prompts, generated, strict=True)
    ]
    return Outcome(candidates=tuple(1 if each else None for each in fallen), budget=1)


ATTACKS = (Attack(name="difference", counts="answers", run=_run),)
