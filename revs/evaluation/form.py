"""Form: whether a number still stands where a number stood.

An edit that pushes one digit down for each of many people can take all digits with it. Nothing is then said, and no
comparison with decoys tells, for these fall alike; but a place in "my number is" where no number can follow is a trace
of its own. So: the probability of all tokens of the kind of the secret's own, digits or letters, at the places of the
secret, each given the true tokens before it. A model that never saw the person has much of it there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from revs.errors import Gap
from revs.evaluation.context import Examination
from revs.evaluation.teacher_forcing import logits_at
from revs.model.batch import batched
from revs.model.hooks import pad_id
from revs.model.offload import input_device
from revs.targets.tokenize import collate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NEITHER, _DIGITS, _LETTERS = range(3)
_ROWS = 256  # rows of probabilities held at once


def form(examination: Examination, *, of: str) -> float:
    """Mean probability of tokens like the secret's own, percent, over the digits and letters of "targets" or "unseen".

    Raises:
        Gap: there are no such targets, or none has a digit or a letter.
    """
    kind_V = examination.once("form", "kinds", lambda: _kinds(examination.tokenizer))
    targets, model = examination.tokenised(examination.set_of(of)), examination.model
    examination.check_finite()
    found: list[Tensor] = []
    for numbers in batched([len(target.ids) for target in targets], examination.batch_size):
        some = [targets[number] for number in numbers]
        batch = collate(some, pad=pad_id(model, examination.tokenizer), device=input_device(model))
        kind_N = kind_V[batch.token_N]
        counts_N = kind_N != _NEITHER
        places = batch.row_N[counts_N], batch.position_N[counts_N]
        logits_NV = logits_at(model, batch.ids_BT, batch.mask_BT, *places)
        kind_N = kind_N[counts_N]
        for rows in torch.split(torch.arange(len(kind_N)), _ROWS):
            p_NV = logits_NV[rows.to(logits_NV.device)].float().softmax(-1)
            alike_NV = (kind_N[rows][:, None] == kind_V[: p_NV.shape[1]]).to(p_NV.device)
            found.append((p_NV[:, : alike_NV.shape[1]] * alike_NV).sum(-1).cpu())
    probability_N = torch.cat(found)
    if not len(probability_N):
        raise Gap("no secret has a token of digits or of letters")
    return 100 * float(probability_N.double().mean())


def _kinds(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Of every token whether it is all digits, all letters, or neither; spaces around do not count."""
    texts = (tokenizer.decode([token]).strip() for token in range(len(tokenizer)))
    return torch.tensor([_DIGITS if text.isdigit() else _LETTERS if text.isalpha() else _NEITHER for text in texts])
