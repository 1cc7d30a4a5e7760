"""GPT-J: LayerNorm with bias, attention and MLP in parallel on one residual stream, a bias on the logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from revs.architectures.base import Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def gptj(_config: PretrainedConfig) -> Architecture:
    return Architecture(
        layers="transformer.h", writers=("mlp.fc_out", "attn.out_proj"), final_norm="transformer.ln_f", norm="layer"
    )
