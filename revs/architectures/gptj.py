"""GPT-J: LayerNorm with bias, attention and MLP in parallel on one residual stream, a bias on the logits."""

from __future__ import annotations

from revs.architectures.base import Architecture

GPTJ = Architecture(layers="transformer.h", mlp_out="mlp.fc_out", final_norm="transformer.ln_f", norm="layer")
