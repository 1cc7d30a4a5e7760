"""GPT-J: LayerNorm with bias, attention and MLP in parallel on one residual stream, a bias on the logits."""

from __future__ import annotations

from revs.architectures.base import Architecture

GPTJ = Architecture(
    layers="transformer.h", writers=("mlp.fc_out", "attn.out_proj"), final_norm="transformer.ln_f", norm="layer"
)
