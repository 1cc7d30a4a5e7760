"""Relearning: a few optimiser steps on records of other people, then greedy decoding (arXiv 2409.18025, 2410.08827).

A candidate is one step: the secret is asked for after 10, 20, 40 and 60 of them, in the longer attacks also after 100
and 200. Benign relearning is driven by likeness of syntax (arXiv 2602.03379), so there are two kinds of records: those
in the sentences that the targets stand in (`unrelated`), and those in sentences of other templates (`other_templates`).
Read both beside the twin, relearned in the same way: what comes back there was never erased.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch

from revs.errors import Gap
from revs.evaluation.attacks.base import Attack, Outcome
from revs.evaluation.context import Examination
from revs.model.hooks import pad_id
from revs.model.offload import input_device
from revs.model.seeding import seeded
from revs.targets.target import Target

if TYPE_CHECKING:
    from transformers import PreTrainedModel

STEPS = (10, 20, 40, 60)
MORE_STEPS = (*STEPS, 100, 200)
LEARNING_RATE = 3e-4
_BATCH = 8


def _alike(examination: Examination) -> Sequence[Target]:
    if not (found := examination.unrelated or examination.retain):
        raise Gap("no records of other people to train on were given (unrelated= or retain=)")
    return found


def _unlike(examination: Examination) -> Sequence[Target]:
    if not examination.other_templates:
        raise Gap("no records in sentences of other templates were given (other_templates=)")
    return examination.other_templates


def relearned(
    examination: Examination, targets: Sequence[Target] | None = None, *, stops: Sequence[int] = STEPS
) -> Iterator[tuple[int, PreTrainedModel]]:
    """The number of steps and the model after them, at each of `stops`; the model under examination is not changed.

    The steps are AdamW's, in float32, on batches of 8 of the records `targets`; None: `unrelated`, else `retain`.
    """
    records = [other.prompt + other.secret for other in (_alike(examination) if targets is None else targets)]
    if any(weight.is_meta for weight in examination.model.parameters()):
        raise Gap("relearning trains all weights, and this model is offloaded")
    examination.check_finite()
    model = copy.deepcopy(examination.model).float().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    rng = random.Random(examination.seed)
    pad = pad_id(model, examination.tokenizer)
    with seeded(examination.seed, model):
        for step in range(1, stops[-1] + 1):
            texts = rng.sample(records, min(_BATCH, len(records)))
            _step(model, optimiser, *_padded(examination, texts, pad))
            if step in stops:
                yield step, model


def _padded(examination: Examination, texts: list[str], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids padded on the right, and the mask of what is no padding."""
    rows = [torch.tensor(ids[: examination.context]) for ids in examination.tokenizer(texts)["input_ids"]]
    ids_BT = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
    mask_BT = torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    return ids_BT, mask_BT


def _step(
    model: PreTrainedModel, optimiser: torch.optim.Optimizer, ids_BT: torch.Tensor, mask_BT: torch.Tensor
) -> None:
    ids_BT, mask_BT = ids_BT.to(input_device(model)), mask_BT.to(input_device(model))
    labels_BT = ids_BT.masked_fill(mask_BT == 0, -100)
    with torch.enable_grad():
        loss = model(input_ids=ids_BT, attention_mask=mask_BT, labels=labels_BT, use_cache=False).loss
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()


def _run(
    examination: Examination, *, records: Callable[[Examination], Sequence[Target]], stops: Sequence[int]
) -> Outcome:
    found: list[int | None] = [None] * len(examination.prompts)
    for steps, model in relearned(examination, records(examination), stops=stops):
        extracted = examination.of(model).extracts(examination.prompts)
        found = [steps if old is None and now else old for old, now in zip(found, extracted, strict=True)]
    return Outcome(candidates=tuple(found), budget=stops[-1])


ATTACKS = tuple(
    Attack(name=name, counts="optimiser steps", run=partial(_run, records=records, stops=stops))
    for name, records, stops in (
        ("relearn", _alike, STEPS),
        ("relearn_longer", _alike, MORE_STEPS),
        ("relearn_other", _unlike, MORE_STEPS),
    )
)
