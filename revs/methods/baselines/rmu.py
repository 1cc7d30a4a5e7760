"""RMU, representation misdirection (Li et al. 2024, "The WMDP Benchmark", section 4).

Behind layer ℓ the residuals at which the secret's tokens are predicted are pulled to c·u, u a fixed random direction of
length 1 with entries drawn from [0, 1); those of the retained records, or of the text where there are none, are held
where the model before the edit has them:

    mean ‖h − c·u‖² + α · mean ‖h' − h'_old‖²,     means over positions and dimensions.

Tuned are the FF2 weights of layers ℓ−2, ℓ−1 and ℓ; all tokens of the secret count. The published c and α fit the length
of residuals in a 7-billion-parameter model: set them to the model's.

Legend of shape suffixes: N studied tokens, d hidden, B batch, T positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from revs.config import NotNegative, Positive, settings
from revs.methods.baselines.frame import Baseline, Job
from revs.methods.baselines.reference import Reference
from revs.methods.baselines.settings import Steps, TuningConfig, chosen_layers
from revs.methods.baselines.tuning import tune
from revs.model.batch import Batch
from revs.model.hooks import run

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.model.adapter import Architecture

_BELOW = 2  # layers below the steered one that are tuned as well


@settings
class RmuConfig(TuningConfig):
    """Settings of `rmu`; the paper's for Zephyr-7B. `seed` also draws the direction.

    Attributes:
        layer: ℓ; −1: at the depth of the paper's layer 7 of 32, but with two layers below it if there are.
        steering: c, the length of the wanted residuals.
        alpha: weight of what is kept.
    """

    method: str = "rmu"
    steps: Steps = 150
    learning_rate: Positive = 5e-5
    layer: Annotated[int, Field(ge=-1)] = -1
    steering: Positive = 6.5
    alpha: NotNegative = 1200.0


def steered_layer(model: PreTrainedModel, architecture: Architecture, config: RmuConfig) -> int:
    """ℓ of this model.

    Raises:
        BadInput: it has no such layer.
    """
    if config.layer >= 0:
        return chosen_layers(model, architecture, (config.layer,))[0]
    count = len(architecture.decoder_layers(model))
    return max(min(_BELOW, count - 1), 7 * count // 32)


def _names(model: PreTrainedModel, architecture: Architecture, config: RmuConfig) -> list[str]:
    layer = steered_layer(model, architecture, config)
    return [architecture.weight_names(below)[0] for below in range(max(0, layer - _BELOW), layer + 1)]


def _residuals(job: Job[RmuConfig], layer: int, batch: Batch) -> Float[Tensor, "N d"]:
    found: list[Tensor] = []

    def keep(number: int, _keys: Tensor, hidden_BTd: Tensor) -> None:
        if number == layer:
            found.append(hidden_BTd[batch.row_N, batch.position_N].float())

    run(job.model, job.architecture, batch, keep, last=layer, gradients=torch.is_grad_enabled())
    return found[0]


def _change(job: Job[RmuConfig]) -> None:
    layer = steered_layer(job.model, job.architecture, job.config)
    reference = Reference(job)
    width = job.model.get_input_embeddings().weight.shape[1]
    direction_d = torch.rand(width, generator=torch.Generator().manual_seed(job.config.seed))
    wanted_d = (job.config.steering * direction_d / direction_d.norm()).to(job.model.device)

    def loss(forget: Batch, kept: Batch | None) -> Tensor:
        value: Tensor = (_residuals(job, layer, forget) - wanted_d).square().mean()
        if kept is not None:
            with reference():
                old_Nd = _residuals(job, layer, kept)
            value = value + job.config.alpha * (_residuals(job, layer, kept) - old_Nd).square().mean()
        return value

    tune(job, loss, keep=job.keep())


RMU = Baseline(settings=RmuConfig, names=_names, change=_change)
