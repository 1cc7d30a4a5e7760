"""Exact retraining, the reference of all unlearning: the weights of a model that was trained without the targets.

The training is the caller's; here its result is put in, so that it stands behind the same call, with a patch and
records like any other method.
"""

from __future__ import annotations

from os import fspath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import BeforeValidator

from revs.config import EraseConfig, settings
from revs.errors import BadInput
from revs.methods.baselines.frame import Baseline, Job
from revs.methods.baselines.settings import all_names
from revs.model.load import load

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


@settings
class RetrainConfig(EraseConfig):
    """Settings of `retrain`; of the inherited ones it uses `tokens_per_secret` and `low_rank`, for the records.

    Attributes:
        retrained: folder of a checkpoint of the same architecture that was trained without the targets.
    """

    method: str = "retrain"
    retrained: Annotated[str, BeforeValidator(fspath)] = ""

    def __post_init__(self) -> None:
        EraseConfig.__post_init__(self)  # super() does not find its class where slots are made
        if not self.retrained:
            raise BadInput(
                "RetrainConfig: retrained is empty; train a model without the targets and give its checkpoint folder"
            )


def _change(job: Job[RetrainConfig]) -> None:
    folder = job.config.retrained
    if not Path(folder).is_dir():
        raise BadInput(f"retrained {folder} is no folder; give the checkpoint folder that save_pretrained wrote")
    other, _ = load(folder)
    found: dict[str, nn.Parameter] = dict(other.named_parameters())
    _check(folder, job.model, other)
    with torch.no_grad():
        for number, (name, weight) in enumerate(job.weights.items()):
            job.report("weight", number + 1, len(job.weights))
            weight.copy_(found[name])


def _check(folder: str, model: PreTrainedModel, other: PreTrainedModel) -> None:
    """Refuse a model that is not of the same family, names and shapes.

    Raises:
        BadInput: it is not.
    """
    types = model.config.model_type, other.config.model_type
    shapes = [{name: tuple(weight.shape) for name, weight in m.named_parameters()} for m in (model, other)]
    odd = sorted(name for name, _ in shapes[0].items() ^ shapes[1].items())
    if types[0] != types[1] or odd:
        what = f"{odd[0]} differs" if odd else f"it is a {types[1]!r}, the model a {types[0]!r}"
        raise BadInput(
            f"retrained {folder} is of another architecture ({what}); train a model of the same configuration"
        )


RETRAIN = Baseline(settings=RetrainConfig, names=all_names, change=_change)
