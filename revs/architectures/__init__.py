"""One adapter per model family, looked up once; nothing else in the library asks for a model's type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from revs.architectures.base import Architecture
from revs.architectures.bloom import bloom
from revs.architectures.falcon import falcon
from revs.architectures.gemma import gemma, gemma2
from revs.architectures.gpt2 import gpt2
from revs.architectures.gpt_neox import gpt_neox
from revs.architectures.gptj import gptj
from revs.architectures.llama import granite, llama
from revs.architectures.olmo2 import olmo2
from revs.architectures.opt import opt
from revs.errors import BadInput

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# By the configuration's `model_type`; some families differ by configuration.
ARCHITECTURES: dict[str, Callable[[PretrainedConfig], Architecture]] = {
    "bloom": bloom,
    "falcon": falcon,
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3_text": gemma2,
    "gpt2": gpt2,
    "gpt_neox": gpt_neox,
    "gptj": gptj,
    "granite": granite,
    "llama": llama,
    "mistral": llama,
    "olmo2": olmo2,
    "opt": opt,
    "phi3": llama,
    "qwen2": llama,
    "qwen3": llama,
}

_UNLIMITED_CONTEXT = 2048  # of families without learned positions that do not say what they were trained on

__all__ = ["ARCHITECTURES", "Architecture", "architecture_of", "context_length"]


def architecture_of(model: PreTrainedModel) -> Architecture:
    """The adapter of the model's family.

    Raises:
        BadInput: the family, or this variant of it, is not supported; the message lists the families that are.
    """
    model_type = getattr(model.config, "model_type", "unknown")
    if model_type not in ARCHITECTURES:
        raise BadInput(
            f"model family {model_type!r} is not supported; supported families: {', '.join(sorted(ARCHITECTURES))}"
        )
    return ARCHITECTURES[model_type](model.config)


def context_length(model: PreTrainedModel) -> int:
    """The longest sequence, in tokens, that the model is run on."""
    for name in ("max_position_embeddings", "n_positions", "seq_length"):
        if length := getattr(model.config, name, None):
            return int(length)
    return _UNLIMITED_CONTEXT
