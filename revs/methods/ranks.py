"""The method `revs`: the rarest tokens of a secret go to fixed ranks, by the joint edit of `revs.edit`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from revs.config import EraseConfig
from revs.edit.aim import FixedRanks
from revs.edit.edit import Approach, edited
from revs.edit.request import Request
from revs.errors import BadInput
from revs.methods.replay import replayed
from revs.patch.patch import Patch
from revs.targets.frames import Frames
from revs.targets.preflight import vocabulary_of
from revs.targets.target import Target
from revs.targets.variations import perturbed, stand_ins

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def erase_to_ranks(request: Request) -> Patch:
    """The `revs` method: the rarest tokens down to fixed ranks; see `revs.erase`."""
    config, targets, architecture = request.config, request.targets, request.architecture
    _check_vocabulary(request.model, config)

    def approach() -> Approach:
        layers = len(architecture.decoder_layers(request.model))
        return Approach(
            kept=request.tokenised(request.retain, called="retained record")
            + replayed(request, Frames(targets, request.retain, text=request.text))
            + request.tokenised(
                stand_ins(targets, request.text, copies=config.stand_ins, seed=config.seed), called="stand-in"
            ),
            varied=_varied(targets, config),
            aim=lambda unembedding, _numbers, own: FixedRanks(
                config, unembedding, layers=layers, tokens=sum(len(target.chosen) for target in own)
            ),
        )

    return edited(request, approach)


def _varied(targets: Sequence[Target], config: EraseConfig) -> list[Target]:
    """Variations of the prompts, of another stream of random characters than the perturbation attack draws: it must not
    be met with its own prompts.
    """
    return [
        variation
        for copy in range(config.variations)
        for variation in perturbed(targets, seed=f"variation {copy} of {config.seed}")
    ]


def _check_vocabulary(model: PreTrainedModel, config: EraseConfig) -> None:
    vocabulary = vocabulary_of(model)
    if 2 * config.aim_rank > vocabulary:
        raise BadInput(
            f"aim_rank {config.aim_rank} is more than half of this vocabulary of {vocabulary} tokens; "
            "choose a smaller one"
        )
