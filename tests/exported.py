"""Patches to export, and what comes back from an export; no tests here."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import revs

Digests = Callable[[Any], dict[str, str]]
IDS = torch.arange(40).reshape(2, 20)


def loaded(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(model(input_ids=IDS).logits)


def wide_patch(fan_in_fan_out: bool = False) -> tuple[Any, Any, revs.Patch]:
    """A GPT-2 or Llama with wide MLPs, the same with a low-rank update, and the patch with its factors."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    if fan_in_fan_out:
        base = GPT2LMHeadModel(GPT2Config(vocab_size=60, n_embd=64, n_layer=2, n_head=2, n_positions=32, n_inner=2048))
        name = "transformer.h.1.mlp.c_proj.weight"
    else:
        base = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=60, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=2048
            )
        )
        name = "model.layers.1.mlp.down_proj.weight"
    edited = copy.deepcopy(base)
    weight = edited.get_parameter(name)
    left, right = torch.randn(weight.shape[0], 2) * 0.01, torch.randn(2, weight.shape[1]) * 0.01
    with torch.no_grad():
        weight += left @ right
    patch = revs.Patch.between(
        {name: base.get_parameter(name)}, {name: weight}, factors={name: (left, right)}, method="revs", config={}
    )
    return base.eval(), edited.eval(), patch
