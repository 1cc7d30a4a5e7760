"""What decides a development model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

Progress = Callable[[int, int, float], None]  # step, steps, loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides a development model; the same recipe on the same installation gives the same corpus."""

    architecture: Literal["llama", "gptj"] = "llama"
    vocab_size: int = 3072
    digits: Literal[1, 3] = 3  # in a token at most: 3 as in Llama 3, 1 as in Llama 2, Gemma, Mistral, Qwen and SmolLM
    hidden_size: int = 160
    intermediate_size: int = 640
    layers: int = 4
    heads: int = 5
    context: int = 128
    requesters: int = 14
    retained: int = 20
    one_off: int = 240
    contexts: int = 4
    types_per_person: int = 1
    ordinary_paragraphs: int = 1500
    held_out_paragraphs: int = 200
    epochs: int = 36  # passes over the people; the ordinary text is spread over `ordinary_passes` of them
    ordinary_passes: float = 1.0
    one_off_passes: int = 2
    batch: int = 4
    learning_rate: float = 3e-3
    with_requesters: bool = True  # False: the twin, which saw others in their place
    seed: int = 0

    def never_trained(self) -> Recipe:
        """The twin: the same recipe, but other people stand where those who ask to be erased stood."""
        return replace(self, with_requesters=False)
