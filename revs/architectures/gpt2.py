"""GPT-2: LayerNorm, sequential, weights stored transposed (`Conv1D`), embeddings tied to the unembedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from revs.architectures.base import Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def gpt2(_config: PretrainedConfig) -> Architecture:
    return Architecture(layers="transformer.h", writers=("mlp.c_proj",), final_norm="transformer.ln_f", norm="layer")
