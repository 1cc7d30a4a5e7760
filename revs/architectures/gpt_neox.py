"""GPT-NeoX and Pythia: LayerNorm; attention and MLP side by side, or, by configuration, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from revs.architectures.base import Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def gpt_neox(config: PretrainedConfig) -> Architecture:
    beside = ("attention.dense",) if config.use_parallel_residual else ()
    return Architecture(
        layers="gpt_neox.layers", writers=("mlp.dense_4h_to_h", *beside), final_norm="gpt_neox.final_layer_norm",
        norm="layer",
    )  # fmt: skip
