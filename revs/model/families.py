"""The supported model families: one adapter each, looked up once; nothing else in the library asks for a model's type.

A family whose checkpoints all have the same parts is a row of `ARCHITECTURES`; one that differs by configuration is a
function of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from revs.errors import BadInput
from revs.model.adapter import Architecture

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

# The Llama layout; a family that differs overrides parts of it. By default RMSNorm and a gated MLP without biases.
_llama = partial(Architecture, layers="model.layers", writers=("mlp.down_proj",), final_norm="model.norm", norm="rms")
# The GPT-2 layout: LayerNorm with bias.
_transformer = partial(Architecture, layers="transformer.h", final_norm="transformer.ln_f", norm="layer")


def _bloom(config: PretrainedConfig) -> Architecture:
    """Positions by attention biases (ALiBi).

    Raises:
        BadInput: the residual stream starts after the norm, as no published BLOOM model has it.
    """
    if config.apply_residual_connection_post_layernorm:
        raise BadInput(
            "this BLOOM model adds to the normalised stream (apply_residual_connection_post_layernorm), "
            "which is not supported"
        )
    return _transformer(writers=("mlp.dense_4h_to_h",))


def _falcon(config: PretrainedConfig) -> Architecture:
    """Attention and MLP side by side, or, in some checkpoints, one after the other."""
    beside = ("self_attention.dense",) if config.new_decoder_architecture or config.parallel_attn else ()
    return _transformer(writers=("mlp.dense_4h_to_h", *beside))


def _gemma2(config: PretrainedConfig) -> Architecture:
    """Gemma 2, and the text model of Gemma 3: a second norm after the MLP, and logits under a soft cap."""
    return _llama(
        gain_offset=1.0, post_norm="post_feedforward_layernorm", logit_cap=config.final_logit_softcapping
    )  # fmt: skip


def _gpt_neox(config: PretrainedConfig) -> Architecture:
    """GPT-NeoX and Pythia: LayerNorm; attention and MLP side by side, or, by configuration, one after the other."""
    beside = ("attention.dense",) if config.use_parallel_residual else ()
    return Architecture(
        layers="gpt_neox.layers", writers=("mlp.dense_4h_to_h", *beside), final_norm="gpt_neox.final_layer_norm",
        norm="layer",
    )  # fmt: skip


def _granite(config: PretrainedConfig) -> Architecture:
    """What a layer adds is scaled, and the logits are divided."""
    return _llama(scale=float(config.residual_multiplier), logit_scale=1 / float(config.logits_scaling))


def _opt(config: PretrainedConfig) -> Architecture:
    """All sizes but 350M, which normalises after the residual sum and projects to another width.

    Raises:
        BadInput: the model is built like that one.
    """
    if not config.do_layer_norm_before or config.word_embed_proj_dim != config.hidden_size:
        raise BadInput(
            "this OPT model normalises after the residual sum or projects its output (as OPT-350M does), "
            "which is not supported; use another size"
        )
    return Architecture(
        layers="model.decoder.layers", writers=("fc2",), final_norm="model.decoder.final_layer_norm", norm="layer"
    )


# By the configuration's `model_type`.
ARCHITECTURES: dict[str, Architecture | Callable[[PretrainedConfig], Architecture]] = {
    "bloom": _bloom,
    "falcon": _falcon,
    "gemma": _llama(gain_offset=1.0),
    "gemma2": _gemma2,
    "gemma3_text": _gemma2,
    "gpt2": _transformer(writers=("mlp.c_proj",)),  # weights stored transposed (`Conv1D`)
    "gpt_neox": _gpt_neox,
    "gptj": _transformer(
        writers=("mlp.fc_out", "attn.out_proj")
    ),  # attention and MLP side by side; a bias on the logits
    "granite": _granite,
    "llama": _llama(),
    "mistral": _llama(),
    "olmo2": _llama(
        post_norm="post_feedforward_layernorm"
    ),  # norms after attention and MLP instead of in front of them
    "opt": _opt,
    "phi3": _llama(),
    "qwen2": _llama(),
    "qwen3": _llama(),
}

_UNLIMITED_CONTEXT = 2048  # of families without learned positions that do not say what they were trained on


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
    family = ARCHITECTURES[model.config.model_type]
    return family if isinstance(family, Architecture) else family(model.config)


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
    others of its batch by other angles too, so results would depend on the other prompts of the batch.
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
