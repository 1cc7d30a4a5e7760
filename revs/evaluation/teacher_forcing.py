"""Teacher forcing: the top-1 prediction at every position of a secret, given the true tokens before it.

One pass over prompt and secret, padded on the right, where positions and causal masks of every family are right without
being told. The model's own head is run on the places in question alone: logits of all positions of a batch, at a
vocabulary of 100,000 tokens, would not fit into memory.

Legend of shape suffixes: B batch, T positions, N places of secrets, V vocabulary, d hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from revs.errors import BadInput
from revs.model.batch import Batch, rows_within
from revs.model.hooks import check_ids, evaluating
from revs.model.offload import input_device
from revs.targets.tokenize import TokenisedTarget, collate

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LOGITS_AT_ONCE = 2**26  # numbers
# Of the largest logit: what another batch, or another padding, can move a logit by (measured a tenth of it in float32).
_NOISE = {torch.float32: 1e-4, torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forced:
    """What one teacher-forced pass shows of one secret.

    Attributes:
        predicted: the top-1 token at each position, given the true ones before it.
        top: of each position, whether that is the secret's own token.
        nll: negative log-likelihood of the whole secret, nats.
        close: at the first wrong token, or before it, the top-1 margin is below the numerical noise that depends on the
            batch, so another batch may decide otherwise.
    """

    predicted: tuple[int, ...] = field(repr=False)
    top: tuple[bool, ...]
    nll: float
    close: bool

    @property
    def right(self) -> int:
        """How many tokens, from the first on, greedy decoding generates."""
        return next((place for place, own in enumerate(self.top) if not own), len(self.top))


def teacher_forced(
    model: PreTrainedModel, targets: Sequence[TokenisedTarget], *, pad: int, batch_size: int = 64
) -> list[Forced]:
    """Force every target, in batches of about equal length.

    Raises:
        BadInput: the logits are not finite: what such a model decodes is no sign that it knows a secret, or does not.
    """
    found: dict[int, Forced] = {}
    for places in _batches(targets, batch_size):
        batch = collate([targets[place] for place in places], pad=pad, device=input_device(model))
        for place, forced in zip(places, _force(model, batch, len(places)), strict=True):
            found[place] = forced
    return [found[place] for place in range(len(targets))]


def _batches(targets: Sequence[TokenisedTarget], batch_size: int) -> Iterator[list[int]]:
    """Places of targets, the longest first, as many together as `rows_within` allows."""
    batch: list[int] = []
    for place in sorted(range(len(targets)), key=lambda place: -len(targets[place].ids)):
        longest = len(targets[batch[0]].ids) if batch else 0
        if batch and len(batch) >= rows_within(longest, batch_size):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _force(model: PreTrainedModel, batch: Batch, rows: int) -> list[Forced]:
    logits_NV = logits_at(model, batch.ids_BT, batch.mask_BT, batch.row_N, batch.position_N)
    nll_N, predicted_N, close_N = read_out(logits_NV, batch.token_N)
    found = []
    for row in range(rows):
        mine_N = batch.row_N == row
        predicted, own = predicted_N[mine_N].tolist(), batch.token_N[mine_N].tolist()
        top = tuple(a == b for a, b in zip(predicted, own, strict=True))
        right = next((place for place, same in enumerate(top) if not same), len(top))
        close = bool(close_N[mine_N][: right + 1].any())
        found.append(Forced(predicted=tuple(predicted), top=top, nll=float(nll_N[mine_N].sum()), close=close))
    return found


def logits_at(
    model: PreTrainedModel, ids_BT: Tensor, mask_BT: Tensor, row_N: Tensor, position_N: Tensor, **options: object
) -> Float[Tensor, "N V"]:
    """The model's own logits at some places of a batch; `options` go to the model (default: without a cache)."""
    check_ids(model, ids_BT)

    def only_these(_head: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (inputs[0][row_N, position_N][None], *inputs[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(only_these)
    try:
        with torch.no_grad(), evaluating(model):
            out = model(input_ids=ids_BT, attention_mask=mask_BT, **{"use_cache": False, **options})
    finally:
        handle.remove()
    logits_NV: Tensor = out.logits[0]
    return logits_NV


def read_out(logits_NV: Float[Tensor, "N V"], token_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each place, on the CPU: negative log-likelihood of the token (float64), the first token, whether it is close.

    Raises:
        BadInput: a logit is not finite.
    """
    noise = _NOISE.get(logits_NV.dtype, _NOISE[torch.float32])
    parts = []
    rows = max(1, _LOGITS_AT_ONCE // logits_NV.shape[1])
    for some_NV, tokens in zip(torch.split(logits_NV, rows), torch.split(token_N, rows), strict=True):
        some_NV = some_NV.float()
        if not bool(some_NV.isfinite().all()):
            raise BadInput(
                "the model's logits hold NaN or infinite values, so what it memorised cannot be told; "
                "give a sound checkpoint, or float32 instead of float16"
            )
        own_N = some_NV.gather(1, tokens.to(some_NV.device)[:, None])[:, 0]
        best = some_NV.topk(2, dim=1)
        lead_N = best.values[:, 0] - best.values[:, 1]
        close_N = lead_N <= noise * some_NV.abs().amax(1)
        parts.append(((some_NV.logsumexp(1) - own_N).double().cpu(), best.indices[:, 0].cpu(), close_N.cpu()))
    nll_N, predicted_N, close_N = (torch.cat(column) for column in zip(*parts, strict=True))
    return nll_N, predicted_N, close_N
