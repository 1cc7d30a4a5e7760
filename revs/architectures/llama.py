"""Llama and its near relatives: RMSNorm, a gated MLP without biases, a sequential residual stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from revs.architectures.base import Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def llama(_config: PretrainedConfig) -> Architecture:
    """Llama, Mistral, Qwen 2 and 3, Phi 3."""
    return Architecture(layers="model.layers", writers=("mlp.down_proj",), final_norm="model.norm", norm="rms")


def granite(config: PretrainedConfig) -> Architecture:
    """Granite: what a layer adds is scaled, and the logits are divided."""
    return Architecture(
        layers="model.layers", writers=("mlp.down_proj",), final_norm="model.norm", norm="rms",
        scale=float(config.residual_multiplier), logit_scale=1 / float(config.logits_scaling),
    )  # fmt: skip
