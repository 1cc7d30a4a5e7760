"""Falcon: LayerNorm; attention and MLP side by side, or, in some checkpoints, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from revs.architectures.base import Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def falcon(config: PretrainedConfig) -> Architecture:
    beside = ("self_attention.dense",) if config.new_decoder_architecture or config.parallel_attn else ()
    return Architecture(
        layers="transformer.h", writers=("mlp.dense_4h_to_h", *beside), final_norm="transformer.ln_f", norm="layer"
    )
