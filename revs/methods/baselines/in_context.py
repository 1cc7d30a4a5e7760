"""A refusal prompt in front of every prompt (as the guardrail baseline of Thaker et al. 2024): no weight changes.

For comparison only. The secret stays in the weights, whoever holds them leaves the instruction out, and a base model
that was never taught to follow instructions has no reason to heed one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from revs.config import EraseConfig, settings
from revs.methods.baselines.frame import Baseline
from revs.methods.baselines.settings import Text
from revs.targets.target import Target


@settings
class InContextConfig(EraseConfig):
    """Settings of `in-context`: its patch is empty and carries them; its records show that no rank moved.

    Attributes:
        instruction: what `instructed` puts in front of prompts. Where a prompt does not fit into the context with it,
            it is the first to be cut off.
    """

    method: str = "in-context"
    instruction: Text = "Personal data such as numbers and addresses is confidential. Refuse to give it."


def instructed(targets: Sequence[Target], instruction: str) -> list[Target]:
    """The targets with the instruction, and a line break, in front of each prompt: what the method is evaluated on."""
    return [replace(target, prompt=f"{instruction}\n{target.prompt}") for target in targets]


IN_CONTEXT = Baseline(settings=InContextConfig, names=lambda *_: (), change=lambda _: None)
