"""Llama: RMSNorm, gated MLP without biases, sequential residual stream."""

from __future__ import annotations

from revs.architectures.base import Architecture

LLAMA = Architecture(layers="model.layers", writers=("mlp.down_proj",), final_norm="model.norm", norm="rms")
