"""Extraction: what the model really says when the prompt is put to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor

from revs.architectures import context_length
from revs.batching import rows_within
from revs.placement import input_device
from revs.randomness import seeded
from revs.taps import check_ids, evaluating, pad_id
from revs.targets import TokenisedTarget

if TYPE_CHECKING:
    from transformers import LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase

_SPARE = 4


def greedily_extracted(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    targets: Sequence[TokenisedTarget],
    *,
    batch_size: int = 64,
) -> list[bool]:
    """For each target, whether greedy decoding from its prompt reproduces its secret (Carlini et al. 2023)."""
    said = answers(model, tokenizer, targets, batch_size=batch_size)
    return [holds(tokenizer, target, answer) for target, (answer,) in zip(targets, said, strict=True)]


def holds(tokenizer: PreTrainedTokenizerBase, target: TokenisedTarget, answer: str) -> bool:
    """Whether an answer begins with the secret. Compared as text: another spelling by tokens counts too."""
    return answer.strip().startswith(secret_text(tokenizer, target))


def secret_text(tokenizer: PreTrainedTokenizerBase, target: TokenisedTarget) -> str:
    """The secret as the tokenizer gives it back, without space around it."""
    text: str = tokenizer.decode(target.secret_ids)
    return text[: len(text) - target.beyond].strip()


def answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    targets: Sequence[TokenisedTarget],
    *,
    batch_size: int = 64,
    samples: int = 1,
    temperature: float | None = None,
    seed: int = 0,
    processor: Callable[[Int[Tensor, "B T"]], LogitsProcessor] | None = None,
) -> list[list[str]]:
    """What the model says to each prompt, as long as the secret and a little longer: targets × samples.

    Prompts are padded on the left and decoded in batches, longest first. Settings saved with the checkpoint, such as a
    repetition penalty, are put aside.

    Args:
        model: is not changed.
        tokenizer: its tokenizer.
        targets: prompts and the length of the answers.
        batch_size: sequences decoded at once.
        samples: answers per prompt.
        temperature: of the sampling; None decodes greedily (then every sample is the same).
        seed: of the sampling.
        processor: makes, for the attention mask of a batch, a processor of the logits of each step.
    """
    found: list[list[str]] = [[] for _ in targets]
    options: dict[str, Any] = {"do_sample": False}
    if temperature is not None:
        options = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    with seeded(seed, model):
        for chunk, new_tokens in _chunks(targets, context_length(model), batch_size, samples):
            with plain_decoding(model):
                prompts = [targets[i].ids[: targets[i].start] for i in chunk]
                new_BT = continued(
                    model, tokenizer, prompts, new_tokens, processor, num_return_sequences=samples, **options
                )
            said = tokenizer.batch_decode(new_BT, skip_special_tokens=True)
            for place, i in enumerate(chunk):
                found[i] = said[place * samples : (place + 1) * samples]
    return found


def _chunks(
    targets: Sequence[TokenisedTarget], context: int, batch_size: int, samples: int
) -> Iterator[tuple[list[int], int]]:
    """Indices of targets to decode together, and the number of new tokens that all of them get within the context."""
    chunk: list[int] = []
    new_tokens = longest = 0
    for i in sorted(range(len(targets)), key=lambda i: -targets[i].start):
        # A few tokens more than the secret has: another spelling may need them.
        need = min(len(targets[i].secret_ids) + _SPARE, context - targets[i].start)
        length = longest + max(new_tokens, need)
        if chunk and (len(chunk) >= rows_within(length, batch_size) // samples or length > context):
            yield chunk, new_tokens
            chunk, new_tokens = [], 0
        longest = longest if chunk else targets[i].start
        chunk.append(i)
        new_tokens = max(new_tokens, need)
    if chunk:
        yield chunk, new_tokens


@contextmanager
def plain_decoding(model: PreTrainedModel) -> Iterator[None]:
    """Without the checkpoint's own generation settings: a repetition penalty would hide a memorised number."""
    from transformers import GenerationConfig

    kept = model.generation_config
    model.generation_config = GenerationConfig(bos_token_id=kept.bos_token_id, eos_token_id=kept.eos_token_id)
    try:
        yield
    finally:
        model.generation_config = kept


def continued(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    processor: Callable[[Tensor], LogitsProcessor] | None = None,
    **options: Any,
) -> Int[Tensor, "B T"]:
    """The tokens `model.generate` adds to each prompt (token ids, at least one); prompts are padded on the left.

    `options` are its own; with `num_return_sequences` the answers to one prompt follow each other.
    """
    pad = pad_id(model, tokenizer)
    longest = max(map(len, prompts))
    ids_BT = torch.full((len(prompts), longest), pad)
    mask_BT = torch.zeros_like(ids_BT)
    for row, prompt in enumerate(prompts):
        ids_BT[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask_BT[row, longest - len(prompt) :] = 1
    check_ids(model, ids_BT)
    repeats = options.get("num_return_sequences", 1)
    guides = None if processor is None else [processor(mask_BT.repeat_interleave(repeats, dim=0).to(model.device))]
    with torch.no_grad(), evaluating(model):
        out_BT: Tensor = model.generate(
            input_ids=ids_BT.to(input_device(model)),
            attention_mask=mask_BT.to(input_device(model)),
            max_new_tokens=new_tokens,
            num_beams=1,
            pad_token_id=pad,
            logits_processor=guides,
            **options,
        )
    return out_BT[:, longest:]
