"""Settings that several baselines share, and which weights they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field

from revs.config import EraseConfig, NotNegative, Positive, settings
from revs.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.model.adapter import Architecture


def _ascending(layers: tuple[int, ...]) -> tuple[int, ...]:
    if list(layers) != sorted(set(layers)) or any(layer < 0 for layer in layers):
        raise ValueError("should be ascending numbers from 0")
    return layers


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is blank")
    return text


Steps = Annotated[int, Field(ge=1, le=10_000)]
Layers = Annotated[tuple[int, ...], AfterValidator(_ascending)]
Text = Annotated[str, AfterValidator(_not_blank)]


@settings
class TuningConfig(EraseConfig):
    """Settings of a method that trains by AdamW with β = (0.9, 0.999) and a constant learning rate.

    Of the inherited settings such a method uses `tokens_per_secret`, `low_rank` (in the records), `batch_size`
    (sequences to forget, and as many to keep, in one step) and `seed` (their order), and no other.

    Attributes:
        steps: updates of the weights.
        learning_rate: of AdamW. The published ones are for models of billions of parameters; small models need more.
        weight_decay: of AdamW, decoupled.
    """

    steps: Steps = 25
    learning_rate: Positive = 5e-4
    weight_decay: NotNegative = 0.0


@settings
class ConstrainedConfig(TuningConfig):
    """Settings of constrained fine-tuning of FF2 weights (Zhu et al. 2020, "Modifying Memories in Transformer Models").

    Steps, learning rate and bound as ROME's FT+L baseline has them for GPT-2 XL (Meng et al. 2022, appendix E.1).

    Attributes:
        layers: whose FF2 weights are tuned; empty: all from `first_layer` on.
        radius: bound of |ΔW| of every entry, kept after every step (ε in the papers).
    """

    layers: Layers = ()
    radius: Positive = 5e-4


def chosen_layers(model: PreTrainedModel, architecture: Architecture, layers: tuple[int, ...]) -> tuple[int, ...]:
    """`layers`, which the model must have.

    Raises:
        BadInput: it has fewer.
    """
    count = len(architecture.decoder_layers(model))
    if layers and layers[-1] >= count:
        raise BadInput(f"layer {layers[-1]} is not there: the model has {count} layers, numbered from 0")
    return layers


def ff2_names(model: PreTrainedModel, architecture: Architecture, config: ConstrainedConfig) -> list[str]:
    """Names of the FF2 weights of the chosen layers; not of the attention's output where that runs beside the MLP."""
    every = range(config.first_layer, len(architecture.decoder_layers(model)))
    layers = chosen_layers(model, architecture, config.layers) or every
    return [architecture.weight_names(layer)[0] for layer in layers]


def all_names(model: PreTrainedModel, _architecture: Architecture, _config: EraseConfig) -> list[str]:
    """Names of all floating-point weights, tied ones once."""
    return [name for name, weight in model.named_parameters() if weight.dtype.is_floating_point]
