"""Settings that suit a vocabulary of 400, and a slow look at what an edit did; no tests here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import revs
from revs.targets.target import Target
from revs.targets.tokenize import tokenise

LOW, AIM, CONTEXT = 40, 60, 64
Digests = Callable[[Any], dict[str, str]]


def config(**settings: Any) -> revs.EraseConfig:
    """The library's defaults, with ranks that fit into a vocabulary of 400."""
    return revs.EraseConfig(**{"low_rank": LOW, "aim_rank": AIM, **settings})


def plain_ranks(model: Any, tokenizer: Any, target: Target) -> dict[int, int]:
    """Rank of every token of the secret, by place, from the model's own logits, one target at a time."""
    (tokens,) = tokenise(tokenizer, [target], context=CONTEXT)
    with torch.no_grad():
        logits_TV = model(input_ids=torch.tensor([tokens.ids])).logits[0].float()
    return {
        place: sum(value > logits_TV[tokens.start + place - 1, token] for value in logits_TV[tokens.start + place - 1])
        for place, token in enumerate(tokens.secret_ids)
    }


def edited_names(model: Any, family: str) -> list[list[str]]:
    """Names of the weights that the edit may touch, by layer: what writes the layer's output."""
    layers = range(len(model.model.layers if family == "llama" else model.transformer.h))
    forms = {
        "llama": ["model.layers.{}.mlp.down_proj.weight"],
        "gptj": ["transformer.h.{}.mlp.fc_out.weight", "transformer.h.{}.attn.out_proj.weight"],
    }[family]
    return [[form.format(layer) for form in forms] for layer in layers]


def state(model: Any) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
