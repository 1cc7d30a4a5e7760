"""Settings that several baselines share, and which weights they mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from revs.config import EraseConfig
from revs.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.model.adapter import Architecture

_MOST_STEPS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningConfig(EraseConfig):
    """Settings of a method that trains by AdamW with β = (0.9, 0.999) and a constant learning rate.

    Of the inherited settings such a method uses `tokens_per_secret`, `low_rank` (in the records), `batch_size`
    (sequences to forget, and as many to keep, in one step) and `seed` (their order), and no other.

    Attributes:
        steps: updates of the weights.
        learning_rate: of AdamW. The published ones are for models of billions of parameters; small models need more.
        weight_decay: of AdamW, decoupled.
    """

    steps: int = 25
    learning_rate: float = 5e-4
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        EraseConfig.__post_init__(self)  # super() does not find its class where slots are made
        refuse(
            self,
            {
                f"steps {self.steps} is not between 1 and {_MOST_STEPS}": not 1 <= self.steps <= _MOST_STEPS,
                f"learning_rate {self.learning_rate} is not a number > 0": not 0 < self.learning_rate < inf,
                f"weight_decay {self.weight_decay} is not a number ≥ 0": not 0 <= self.weight_decay < inf,
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstrainedConfig(TuningConfig):
    """Settings of constrained fine-tuning of FF2 weights (Zhu et al. 2020, "Modifying Memories in Transformer Models").

    Steps, learning rate and bound as ROME's FT+L baseline has them for GPT-2 XL (Meng et al. 2022, appendix E.1).

    Attributes:
        layers: whose FF2 weights are tuned; empty: all from `first_layer` on.
        radius: bound of |ΔW| of every entry, kept after every step (ε in the papers).
    """

    layers: tuple[int, ...] = ()
    radius: float = 5e-4

    def __post_init__(self) -> None:
        TuningConfig.__post_init__(self)
        check_layers(self, self.layers)
        refuse(self, {f"radius {self.radius} is not a number > 0": not 0 < self.radius < inf})


def refuse(config: EraseConfig, checks: Mapping[str, bool]) -> None:
    """Refuse settings of which a check is true.

    Raises:
        BadInput: one is; its key is the problem.
    """
    for problem, broken in checks.items():
        if broken:
            raise BadInput(f"{type(config).__name__}: {problem}; see its docstring for the ranges")


def check_layers(config: EraseConfig, layers: tuple[int, ...]) -> None:
    repeated = list(layers) != sorted(set(layers))
    refuse(config, {f"layers {layers} are not ascending numbers ≥ 0": repeated or any(n < 0 for n in layers)})


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
