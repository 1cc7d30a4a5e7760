"""BLOOM: LayerNorm, sequential, positions by attention biases (ALiBi)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from revs.architectures.base import Architecture
from revs.errors import BadInput

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def bloom(config: PretrainedConfig) -> Architecture:
    """Raises:
    BadInput: the residual stream starts behind the norm, as no published BLOOM model has it.
    """
    if config.apply_residual_connection_post_layernorm:
        raise BadInput(
            "this BLOOM model adds to the normalised stream (apply_residual_connection_post_layernorm), "
            "which is not supported"
        )
    return Architecture(
        layers="transformer.h", writers=("mlp.dense_4h_to_h",), final_norm="transformer.ln_f", norm="layer"
    )
