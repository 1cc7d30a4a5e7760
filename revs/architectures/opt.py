"""OPT: LayerNorm in front of attention and MLP, sequential."""

from __future__ import annotations

from typing import TYPE_CHECKING

from revs.architectures.base import Architecture
from revs.errors import BadInput

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def opt(config: PretrainedConfig) -> Architecture:
    """All sizes but 350M, which normalises behind the residual sum and projects to another width.

    Raises:
        BadInput: the model is built like that one.
    """
    if not config.do_layer_norm_before or config.word_embed_proj_dim != config.hidden_size:
        raise BadInput(
            "this OPT model normalises behind the residual sum or projects its output (as OPT-350M does), "
            "which is not supported; use another size"
        )
    return Architecture(
        layers="model.decoder.layers", writers=("fc2",), final_norm="model.decoder.final_layer_norm", norm="layer"
    )
