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

__all__ = ["ARCHITECTURES", "Architecture", "architecture_of", "check_family", "context_length"]


def architecture_of(model: PreTrainedModel) -> Architecture:
    """The adapter of the model's family.

    Raises:
        BadInput: the family, or this variant of it, is not supported, and the message lists the families that are; or
            adapters of PEFT stand between the weights and what the model computes.
    """
    if getattr(model, "config", None) is None:
        raise BadInput(f"a {type(model).__name__} is no causal LM of transformers; give the model itself, unwrapped")
    if any(type(module).__module__.startswith("peft.") for module in model.modules()):
        raise BadInput(
            "the model carries PEFT adapters, so its own weights are not what it computes with; merge them "
            "(model = model.merge_and_unload()) and give the result"
        )
    check_family(model.config)
    return ARCHITECTURES[model.config.model_type](model.config)


def check_family(config: PretrainedConfig, *, of: str = "") -> None:
    """Refuse a family without an adapter; `of` says whose configuration it is.

    Raises:
        BadInput: it has none; the message lists the families that have.
    """
    model_type = getattr(config, "model_type", "unknown")
    if model_type in ARCHITECTURES:
        return
    text = getattr(config.get_text_config(), "model_type", "unknown")
    if text != model_type and text in ARCHITECTURES:
        raise BadInput(
            f"{of}model family {model_type!r} does not read text alone (images or sound too) and is not supported; "
            f"take its text model out, save it as a model of the family {text!r}, and give that"
        )
    raise BadInput(
        f"{of}model family {model_type!r} is not supported; supported families: {', '.join(sorted(ARCHITECTURES))}"
    )


def context_length(model: PreTrainedModel) -> int:
    """The longest sequence, in tokens, that the model is run on.

    Under LongRoPE (Phi 3 with 128k) no longer than what the model was first trained on: one longer sequence turns all
    others of its batch by other angles too, so what is said of a prompt would depend on its company.
    """
    for name in ("max_position_embeddings", "n_positions", "seq_length"):
        if length := getattr(model.config, name, None):
            return min([int(length), *_before_rescaling(model.config)])
    return _UNLIMITED_CONTEXT


def _before_rescaling(config: PretrainedConfig) -> list[int]:
    """Lengths beyond which rotary positions change for a whole batch; some families have several kinds of layers."""
    rope = getattr(config, "rope_parameters", None) or {}
    kinds = [rope, *(kind for kind in rope.values() if isinstance(kind, dict))]
    return [int(kind["original_max_position_embeddings"]) for kind in kinds if kind.get("rope_type") == "longrope"]
