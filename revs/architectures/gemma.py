"""Gemma: RMSNorm with gain 1 + weight; from Gemma 2 on a second norm after the MLP, and logits under a soft cap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from revs.architectures.base import Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def gemma(_config: PretrainedConfig) -> Architecture:
    return Architecture(
        layers="model.layers", writers=("mlp.down_proj",), final_norm="model.norm", norm="rms", gain_offset=1.0
    )


def gemma2(config: PretrainedConfig) -> Architecture:
    """Gemma 2, and the text model of Gemma 3."""
    return Architecture(
        layers="model.layers", writers=("mlp.down_proj",), final_norm="model.norm", norm="rms", gain_offset=1.0,
        post_norm="post_feedforward_layernorm", logit_cap=config.final_logit_softcapping,
    )  # fmt: skip
