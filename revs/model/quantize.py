"""Weights as they are after rounding to few bits: what a quantised deployment of an edited model would compute with.

Symmetric rounding to nearest, no calibration: each group of inputs of a row shares one scale, its largest magnitude
over the largest integer. This is the plainest of the schemes in use; those that calibrate stay nearer to the original.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from revs.model.offload import Weights, held, put

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BITS: dict[str, int] = {"int8": 8, "int4": 4}
_GROUP = 32  # inputs that share a scale


def rounded(weight_dm: Float[Tensor, "d m"], bits: int) -> Float[Tensor, "d m"]:
    """The weight after rounding to signed integers of `bits` bits with one scale for `_GROUP` inputs of a row."""
    largest = 2 ** (bits - 1) - 1
    d, m = weight_dm.shape
    groups = torch.nn.functional.pad(weight_dm.float(), (0, -m % _GROUP)).reshape(-1, _GROUP)
    scale = (groups.abs().amax(-1) / largest).clamp_min(torch.finfo(torch.float32).tiny)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    values = torch.fake_quantize_per_channel_affine(groups, scale, zero, 0, -largest, largest)
    return values.view(d, -1)[:, :m].to(weight_dm.dtype)


def rounded_copy(model: PreTrainedModel, to: str) -> PreTrainedModel:
    """A copy of the model with its linear maps rounded, the unembedding and the embeddings left out as is usual.

    Args:
        model: is not changed.
        to: one of `revs.config.ROUNDINGS`; "bfloat16" and "float16" round every weight. The copy computes in float32;
            what is rounded of it is in memory, also where the model is offloaded to disk.
    """
    other = copy.deepcopy(model).float()
    if to in _BITS:
        head = other.get_output_embeddings()
        for module in other.modules():
            if isinstance(module, nn.Linear) and module is not head:
                put(module, "weight", rounded(held(module), _BITS[to]))
            elif isinstance(module, Conv1D):
                put(module, "weight", rounded(held(module).T, _BITS[to]).T)
    else:
        weights = Weights(other)
        for name, weight in weights.items():
            weights[name] = weight.to(getattr(torch, to))
    return other
