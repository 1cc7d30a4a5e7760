"""Tiny configurations of every supported model family, for models that are made on the spot."""

from __future__ import annotations

from typing import Any


def _sizes(vocabulary: int, context: int, layers: int) -> dict[str, Any]:
    """The settings that the Llama-like families share."""
    return {
        "vocab_size": vocabulary, "max_position_embeddings": context, "num_hidden_layers": layers, "hidden_size": 32,
        "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16,
    }  # fmt: skip


def _settings(family: str, vocabulary: int, context: int, layers: int) -> dict[str, Any]:
    sizes = _sizes(vocabulary, context, layers)
    neox = {name: value for name, value in sizes.items() if name not in ("num_key_value_heads", "head_dim")}
    gpt = {"vocab_size": vocabulary, "n_positions": context, "n_embd": 32, "n_layer": layers, "n_head": 2,
           "n_inner": 64}  # fmt: skip
    return {
        "llama": {name: value for name, value in sizes.items() if name != "head_dim"},
        "granite": {**neox, "num_key_value_heads": 2, "residual_multiplier": 0.6, "logits_scaling": 3.0},
        "gemma2": {**sizes, "final_logit_softcapping": 30.0, "query_pre_attn_scalar": 16},
        "gptj": {**gpt, "rotary_dim": 8},
        "gpt2": gpt,
        "gpt_neox": neox,
        "gpt_neox, sequential": {**neox, "use_parallel_residual": False},
        "opt": {
            "vocab_size": vocabulary, "max_position_embeddings": context, "num_hidden_layers": layers,
            "hidden_size": 32, "word_embed_proj_dim": 32, "ffn_dim": 64, "num_attention_heads": 2,
        },
        "falcon": {
            "vocab_size": vocabulary, "num_hidden_layers": layers, "hidden_size": 32, "num_attention_heads": 2,
            "ffn_hidden_size": 64, "max_position_embeddings": context,
        },
        "falcon, new decoder": {
            "vocab_size": vocabulary, "num_hidden_layers": layers, "hidden_size": 32, "num_attention_heads": 2,
            "ffn_hidden_size": 64, "max_position_embeddings": context, "new_decoder_architecture": True,
            "num_kv_heads": 1,
        },
        "falcon, sequential": {
            "vocab_size": vocabulary, "num_hidden_layers": layers, "hidden_size": 32, "num_attention_heads": 2,
            "ffn_hidden_size": 64, "max_position_embeddings": context, "parallel_attn": False,
        },
        "bloom": {"vocab_size": vocabulary, "hidden_size": 32, "n_layer": layers, "n_head": 2},
    }.get(family, sizes)  # fmt: skip


# The name before the comma is the configuration's `model_type`; what follows tells variants of a family apart.
EVERY_FAMILY = (
    "bloom", "falcon", "falcon, new decoder", "falcon, sequential", "gemma", "gemma2", "gemma3_text", "gpt2",
    "gpt_neox", "gpt_neox, sequential", "gptj", "granite", "llama", "mistral", "olmo2", "opt", "phi3", "qwen2", "qwen3",
)  # fmt: skip


def new_config(family: str, *, vocabulary: int = 400, context: int = 64, layers: int = 3) -> Any:
    """The Hugging Face configuration of a tiny model; special tokens are 0 (begin), 1 (end), 2 (pad)."""
    from transformers import AutoConfig

    return AutoConfig.for_model(
        family.split(",")[0], **_settings(family, vocabulary, context, layers), bos_token_id=0, eos_token_id=1,
        pad_token_id=2, initializer_range=0.15, attn_implementation="eager",
        **({} if family in TIED else {"tie_word_embeddings": False}),
    )  # fmt: skip


TIED = ("gemma2", "gpt2", "bloom")  # left as published: the unembedding is the embedding
