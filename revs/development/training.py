"""Plain causal-LM training of a small model on the CPU, packed into windows.

In float32: a CPU without bfloat16 instructions (AVX2 only) runs bfloat16 autocast 14 times slower (measured).

Legend of shape suffixes: B batch, T positions.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from revs.development.recipe import Progress, Recipe
from revs.model.seeding import seeded

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def train(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerFast,
    *,
    ordinary: list[str],
    one_off: list[str],
    people: list[str],
    progress: Progress | None,
    threads: int,
) -> PreTrainedModel:
    """Train from a seeded initialisation; people are shown once an epoch, all else is spread over the epochs."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with seeded(recipe.seed):
            model = new_model(recipe, tokenizer)
            windows_BT = _windows(recipe, tokenizer, ordinary, one_off, people)
            _fit(model, windows_BT, recipe, progress)
    finally:
        torch.set_num_threads(before)
    return model.eval()


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    """A randomly initialised model of the recipe's architecture, in float32."""
    from transformers import GPTJConfig, GPTJForCausalLM, LlamaConfig, LlamaForCausalLM

    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if recipe.architecture == "gptj":
        config = GPTJConfig(
            vocab_size=len(tokenizer), n_positions=recipe.context, n_embd=recipe.hidden_size, n_layer=recipe.layers,
            n_head=recipe.heads, n_inner=recipe.intermediate_size, rotary_dim=recipe.hidden_size // recipe.heads // 2,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, attn_implementation="eager",
            tie_word_embeddings=False, **ids,
        )  # fmt: skip
        return GPTJForCausalLM(config)
    config = LlamaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=recipe.context, hidden_size=recipe.hidden_size,
        num_hidden_layers=recipe.layers, num_attention_heads=recipe.heads, num_key_value_heads=recipe.heads,
        intermediate_size=recipe.intermediate_size, attn_implementation="eager", tie_word_embeddings=False, **ids,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def _windows(
    recipe: Recipe, tokenizer: PreTrainedTokenizerFast, ordinary: list[str], one_off: list[str], people: list[str]
) -> torch.Tensor:
    """Token ids, shape (windows, context): every text with its BOS, concatenated and cut."""
    rng = random.Random(recipe.seed)
    shares = [
        _spread(ordinary, recipe.ordinary_passes, recipe.epochs, rng),
        _spread(one_off, float(recipe.one_off_passes), recipe.epochs, rng),
    ]
    ids: list[int] = []
    for epoch in range(recipe.epochs):
        texts = [*people, *itertools.chain.from_iterable(share[epoch] for share in shares)]
        rng.shuffle(texts)
        for encoded in tokenizer(texts)["input_ids"]:
            ids.extend(encoded)
    usable = len(ids) // recipe.context * recipe.context
    return torch.tensor(ids[:usable]).view(-1, recipe.context)


def _spread(texts: list[str], passes: float, epochs: int, rng: random.Random) -> list[list[str]]:
    """`passes` shuffled passes over `texts`, cut into `epochs` equal shares."""
    endless: Iterator[str] = itertools.chain.from_iterable(rng.sample(texts, len(texts)) for _ in itertools.count())
    total = round(passes * len(texts))
    stream = list(itertools.islice(endless, total))
    return [stream[total * e // epochs : total * (e + 1) // epochs] for e in range(epochs)]


def _fit(model: PreTrainedModel, windows_BT: torch.Tensor, recipe: Recipe, progress: Progress | None) -> None:
    batches = torch.split(windows_BT, recipe.batch)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=recipe.learning_rate, total_steps=len(batches), pct_start=0.1
    )
    model.train()
    for step, batch_BT in enumerate(batches, start=1):
        loss = model(input_ids=batch_BT, labels=batch_BT, use_cache=False).loss
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step, len(batches), loss.item())
