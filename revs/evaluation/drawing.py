"""Sampling in which a prompt's draws depend on the seed and the prompt alone, not on what it is decoded with.

The Gumbel-max trick: the largest of logit/T + noise is a draw from softmax(logit/T). Each row has a stream of noise of
its own; a sampler that draws a whole batch from one stream would give other answers in other batches.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor


class Drawn(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Logits with noise: greedy decoding of them samples at `temperature`; one seed for each row."""

    def __init__(self, *, temperature: float, seeds: Sequence[str]) -> None:
        self._temperature, self._seeds = temperature, seeds
        self._streams: list[torch.Generator] = []

    def __call__(self, _input_ids: Tensor, scores: Tensor) -> Tensor:
        if not self._streams:
            self._streams = [
                torch.Generator(scores.device).manual_seed(random.Random(seed).getrandbits(63)) for seed in self._seeds
            ]
        noisy_BV = scores.float() / self._temperature
        for row_V, stream in zip(noisy_BV, self._streams, strict=True):
            row_V.sub_(torch.empty_like(row_V).exponential_(generator=stream).log_())
        return noisy_BV
