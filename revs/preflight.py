"""What every method refuses before it touches a weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from revs.errors import BadInput
from revs.placement import Weights
from revs.targets import Target

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.architectures import Architecture


def check_request(
    model: PreTrainedModel,
    architecture: Architecture,
    targets: Sequence[Target],
    retain: Sequence[Target],
    *,
    first_layer: int,
) -> None:
    """Refuse a secret on both lists, a first layer that is not there, and weights that cannot be edited.

    Raises:
        BadInput: one of these; the message shows no target.
    """
    both = set(targets).intersection(retain)
    if both:
        raise BadInput(f"{len(both)} target(s) are to be erased and retained at once; take them out of one list")
    check_retained(targets, retain)
    layers = architecture.decoder_layers(model)
    if first_layer >= len(layers):
        raise BadInput(f"first_layer {first_layer} leaves nothing to edit: the model has {len(layers)} layers")
    _check_weights(model, architecture)


def check_retained(targets: Sequence[Target], retain: Sequence[Target]) -> None:
    """Refuse a retained record whose secret is one to be erased, under whatever prompt, and a number with whatever
    separators.

    Raises:
        BadInput: there is one; the message gives the numbers of the two in their lists, and no text.
    """
    erased = {bare_secret(target.secret): number for number, target in reversed(list(enumerate(targets)))}
    for number, record in enumerate(retain):
        if (same := erased.get(bare_secret(record.secret))) is not None:
            raise BadInput(
                f"retained record {number} holds the secret of target {same}, which is to be erased; "
                "take the record out of retain"
            )


def bare_secret(secret: str) -> str:
    """What a secret is compared by: of a number its digits, of anything else all but spaces, in one case."""
    kept = str.isdigit if any(map(str.isdigit, secret)) and not any(map(str.isalpha, secret)) else _is_no_space
    return "".join(filter(kept, secret)).casefold()


def _is_no_space(character: str) -> bool:
    return not character.isspace()


def _check_weights(model: PreTrainedModel, architecture: Architecture) -> None:
    for layer in architecture.decoder_layers(model):
        for linear in architecture.linears(layer):
            dtype = linear.weight.dtype
            if not dtype.is_floating_point:
                raise BadInput(
                    f"the model is quantised ({dtype}); edit it in float32 or bfloat16 and quantise the result"
                )
    for name, weight in Weights(model).items():
        if weight.dtype.is_floating_point and not torch.isfinite(weight).all():
            raise BadInput(f"{name} holds NaN or infinite values; load an intact checkpoint")
