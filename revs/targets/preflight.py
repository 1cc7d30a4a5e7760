"""What every method refuses before it touches a weight."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

from revs.errors import BadInput
from revs.model.offload import Weights
from revs.targets.target import Target

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.model.adapter import Architecture

T = TypeVar("T")


def targets_given(given: Iterable[Target], called: str) -> tuple[Target, ...]:
    """All of them, of whatever gives them one by one, read once.

    Raises:
        BadInput: it is something else; the message names types, and no text.
    """
    return _all_of(given, Target, called, "revs.Target(prompt=…, secret=…)")


def texts_given(given: Iterable[str], called: str) -> tuple[str, ...]:
    """The same of texts. A single text is refused: its characters would be taken for texts."""
    return _all_of(given, str, called, "texts")


def _all_of(given: Iterable[T], kind: type[T], called: str, shown: str) -> tuple[T, ...]:
    if isinstance(given, str | bytes | Target) or not isinstance(given, Iterable):
        raise BadInput(f"{called} is a single {type(given).__name__}; give a list of {shown}")
    found = tuple(given)
    for number, each in enumerate(found):
        if not isinstance(each, kind):
            raise BadInput(f"{called} holds a {type(each).__name__} (number {number}); give a list of {shown}")
    return found


def vocabulary_of(model: PreTrainedModel) -> int:
    """The number of tokens that the model tells apart.

    Raises:
        BadInput: its unembedding has no weight that could be read.
    """
    head = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    if not isinstance(weight, torch.Tensor):
        raise BadInput(
            f"the unembedding is a {type(head).__name__} without a plain weight; "
            "give a causal LM in float32 or bfloat16, not quantised"
        )
    return int(weight.shape[0])


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
    own = Weights(model)
    for number, layer in enumerate(architecture.decoder_layers(model)):
        for name, linear in zip(architecture.weight_names(number), architecture.linears(layer), strict=True):
            if name not in own:
                raise BadInput(f"{name} is the weight of another layer too, so it cannot be edited for this one alone")
            dtype = linear.weight.dtype
            if not dtype.is_floating_point:
                raise BadInput(
                    f"the model is quantised ({dtype}); edit it in float32 or bfloat16 and quantise the result"
                )
    for name, weight in own.items():
        if weight.dtype.is_floating_point and not torch.isfinite(weight).all():
            raise BadInput(f"{name} holds NaN or infinite values; load an intact checkpoint")
