"""One optimiser loop for every method that trains: AdamW on float32 copies, optionally inside an L∞ ball.

The model computes in its own dtype. The step is taken on float32 copies of the tuned weights, which are rounded into
the model after it, so that steps below the resolution of a narrow dtype add up instead of being lost. Dropout is off,
so the result depends on the seed alone.

Legend of shape suffixes: N studied tokens, V vocabulary, B sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from revs.errors import BadInput
from revs.methods.baselines.frame import Job
from revs.methods.baselines.settings import TuningConfig
from revs.model.batch import Batch
from revs.model.hooks import evaluating
from revs.targets.tokenize import TokenisedTarget

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Loss = Callable[[Batch, Batch | None], Tensor]  # (to forget, to keep if anything is) -> scalar to minimise
T = TypeVar("T", bound=TuningConfig)


def tune(job: Job[T], loss: Loss, *, keep: Sequence[TokenisedTarget] = (), radius: float | None = None) -> None:
    """Minimise `loss` over `job.weights` in `config.steps` steps, each on one batch of either kind.

    Args:
        job: what to tune; its weights are rounded to their dtype after every step.
        loss: called with the model in evaluation mode and gradients on.
        keep: sequences of the retain term; a step takes as many of them as there are to forget.
        radius: bound of every entry's distance from its old value, up to rounding to the weight's dtype.

    Raises:
        BadInput: the loss is not finite.
    """
    config, weights = job.config, list(job.weights.values())
    size = min(config.batch_size, len(job.forget))
    forget, kept = draws(job.forget, size, config.seed), draws(keep, size, config.seed)
    masters = [weight.detach().float().clone() for weight in weights]
    optimiser = torch.optim.AdamW(masters, lr=config.learning_rate, weight_decay=config.weight_decay)
    with trainable(job.model, weights):
        for step in range(config.steps):
            job.report("step", step + 1, config.steps)
            value = loss(job.batch(next(forget)), job.batch(next(kept)) if keep else None)
            if not isfinite(float(value.detach())):
                raise BadInput(f"the loss is not finite after {step} steps; lower the learning rate or tune in float32")
            gradients = torch.autograd.grad(value, weights, allow_unused=True)
            for master, gradient in zip(masters, gradients, strict=True):
                master.grad = None if gradient is None else gradient.float()
            optimiser.step()
            _write(job, masters, radius)


def _write(job: Job[Any], masters: Sequence[Tensor], radius: float | None) -> None:
    with torch.no_grad():
        for (name, weight), master in zip(job.weights.items(), masters, strict=True):
            if radius is not None:
                old = job.before[name].to(master)
                master.clamp_(old - radius, old + radius)
            weight.copy_(master)


@contextmanager
def trainable(model: PreTrainedModel, weights: Iterable[Tensor]) -> Iterator[None]:
    """Gradients for these weights alone and no dropout; afterwards everything is as it was."""
    asked = [(weight, weight.requires_grad) for weight in model.parameters()]
    try:
        for weight, _ in asked:
            weight.requires_grad_(False)
        for weight in weights:
            weight.requires_grad_(True)
        with evaluating(model), torch.enable_grad():
            yield
    finally:
        for weight, before in asked:
            weight.requires_grad_(before)


def draws(sequences: Sequence[TokenisedTarget], size: int, seed: int) -> Iterator[list[TokenisedTarget]]:
    """`size` sequences at a time, for ever: each comes once before any comes again, in an order drawn anew then."""
    generator = torch.Generator().manual_seed(seed)
    waiting: list[TokenisedTarget] = []
    while sequences:
        while len(waiting) < size:
            waiting += [sequences[i] for i in torch.randperm(len(sequences), generator=generator).tolist()]
        yield waiting[:size]
        waiting = waiting[size:]


def chosen_only(batch: Batch) -> Batch:
    """The batch with the target tokens as its only studied tokens."""
    chosen = batch.chosen_N
    places = ("target_N", "row_N", "position_N", "token_N", "chosen_N")
    return replace(batch, **{name: getattr(batch, name)[chosen] for name in places})


def logits_of(model: PreTrainedModel, batch: Batch) -> Float[Tensor, "N V"]:
    """The model's own logits where each studied token is predicted, float32."""
    kept, column_N = torch.unique(batch.position_N, return_inverse=True)
    output = model(input_ids=batch.ids_BT, attention_mask=batch.mask_BT, use_cache=False, logits_to_keep=kept)
    logits_NV: Tensor = output.logits[batch.row_N, column_N]
    return logits_NV.float()


def log_p_of(logits_NV: Float[Tensor, "N V"], batch: Batch) -> Float[Tensor, " N"]:
    """The log-probability of each studied token."""
    return logits_NV.log_softmax(-1).gather(1, batch.token_N[:, None])[:, 0]
