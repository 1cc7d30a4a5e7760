"""The method `revs-reference`: all tokens of a secret go to where they would stand had the model never seen the person.

The joint edit of `revs.edit` with another aim (`revs.edit.reference`), other variations of the prompts (the person in
other people's frames), and records that the model itself recites beside those that are given (`revs.methods.replay`).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from revs.config import ReferenceConfig
from revs.edit.aim import Aim
from revs.edit.edit import Approach, edited
from revs.edit.reference import Reference, ToReference
from revs.edit.request import Request
from revs.errors import BadInput
from revs.methods.replay import replayed
from revs.model.hooks import pad_id
from revs.model.vocabulary import Unembedding
from revs.patch.patch import Patch
from revs.targets.frames import Frames
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget


def erase_to_reference(request: Request) -> Patch:
    """The `revs-reference` method: see `revs.erase`."""
    config = request.settings(ReferenceConfig)
    request = replace(request, config=config)
    return edited(request, lambda: _approach(request, config))


def _approach(request: Request, config: ReferenceConfig) -> Approach:
    model, tokenizer, targets = request.model, request.tokenizer, request.targets
    frames = Frames(targets, request.retain, text=request.text)
    pad = pad_id(model, tokenizer)

    def aim(unembedding: Unembedding, numbers: Sequence[int], own: Sequence[TokenisedTarget]) -> Aim:
        contexts = [
            _fitting(request, frames.of_nobody(targets[number], copies=config.contexts, seed=config.seed))
            for number in numbers
        ]
        reference = Reference.read(
            model, request.architecture, unembedding, own, contexts, pad=pad, batch_size=config.batch_size,
            rest=config.hold_form,
        )  # fmt: skip
        return ToReference(reference, slack=config.slack, sweeps=config.sweeps, hold=config.hold_form)

    return Approach(
        kept=request.tokenised(request.retain, called="retained record") + replayed(request, frames),
        varied=_reframed(frames, targets, config),
        aim=aim,
    )  # fmt: skip


def _fitting(request: Request, contexts: Sequence[Target]) -> list[TokenisedTarget]:
    """Those that fit into the model's context: a decoy of random letters may take more tokens than the secret."""
    found = []
    for context in contexts:
        with suppress(BadInput):
            found += request.tokenised([context], called="context of nobody")
    return found


def _reframed(frames: Frames, targets: Sequence[Target], config: ReferenceConfig) -> list[Target]:
    """Each person in frames of others, copy after copy of all; who fits into fewer frames stands in one twice."""
    found = [
        frames.reframed(target, copies=config.frames, seed=config.seed) or [target] if config.frames else []
        for target in targets
    ]
    copies = max(map(len, found), default=0)
    return [prompts[copy % len(prompts)] for copy in range(copies) for prompts in found]
