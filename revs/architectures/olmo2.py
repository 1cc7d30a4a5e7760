"""OLMo 2: as Llama, but the norms stand behind attention and MLP instead of in front of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from revs.architectures.base import Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def olmo2(_config: PretrainedConfig) -> Architecture:
    return Architecture(
        layers="model.layers", writers=("mlp.down_proj",), final_norm="model.norm", norm="rms",
        post_norm="post_feedforward_layernorm",
    )  # fmt: skip
