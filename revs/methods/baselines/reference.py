"""The model as it was before the edit, without a second copy of the weights that are not touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from revs.methods.baselines.frame import Job


class Reference:
    """Puts the old values of a job's weights in their place for a while; they are copied only to another device."""

    def __init__(self, job: Job[Any]) -> None:
        self._weights = list(job.weights.values())
        self._old = [
            job.before[name].to(weight.device) for name, weight in job.weights.items()
        ]  # never written to, so the job's own will do

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """While open, the model is the old one; for forward passes without gradients only."""
        current = [weight.data for weight in self._weights]
        try:
            with torch.no_grad():
                for weight, old in zip(self._weights, self._old, strict=True):
                    weight.data = old
                yield
        finally:
            for weight, data in zip(self._weights, current, strict=True):
                weight.data = data
