"""Decoding: what a model generates from a prompt, greedily or sampled, and whether that is the secret."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import LogitsProcessor

from revs.model.batch import rows_within
from revs.model.families import context_length
from revs.model.hooks import check_ids, evaluating, pad_id
from revs.model.offload import input_device
from revs.targets.tokenize import TokenisedTarget

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SPARE = 4


def greedily_extracted(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    targets: Sequence[TokenisedTarget],
    *,
    batch_size: int = 64,
) -> list[bool]:
    """For each target, whether greedy decoding from its prompt reproduces its secret (Carlini et al. 2023)."""
    generated = answers(model, tokenizer, targets, batch_size=batch_size)
    return [holds(tokenizer, target, answer) for target, (answer,) in zip(targets, generated, strict=True)]


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
    """What the model generates from each prompt, as long as the secret and a little longer: targets × samples.

    Prompts are padded on the left and decoded in batches, longest first; neither the batches nor the order decide what
    is drawn. Settings saved with the checkpoint, such as a repetition penalty, are put aside.

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
    for chunk, new_tokens in _chunks(targets, context_length(model), batch_size, samples):
        prompts = [targets[i].ids[: targets[i].start] for i, _ in chunk]
        guides = [] if processor is None else [processor]
        if temperature is not None:
            guides.append(_drawing(prompts, [sample for _, sample in chunk], temperature, seed))
        with plain_decoding(model):
            new_BT = continued(model, tokenizer, prompts, new_tokens, guides, do_sample=False)
        texts = tokenizer.batch_decode(new_BT, skip_special_tokens=True)
        for (i, _), answer in zip(chunk, texts, strict=True):
            found[i].append(answer)
    return found


def _drawing(
    prompts: Sequence[tuple[int, ...]], samples: Sequence[int], temperature: float, seed: int
) -> Callable[[Tensor], LogitsProcessor]:
    seeds = [f"{seed} {sample} {prompt}" for sample, prompt in zip(samples, prompts, strict=True)]
    return lambda _mask_BT: Drawn(temperature=temperature, seeds=seeds)


def _chunks(
    targets: Sequence[TokenisedTarget], context: int, batch_size: int, samples: int
) -> Iterator[tuple[list[tuple[int, int]], int]]:
    """What to decode together, (index of the target, number of the sample), and the number of new tokens that all of
    them get within the context. The samples of a target come in their order.
    """
    chunk: list[tuple[int, int]] = []
    new_tokens = longest = 0
    longest_first = sorted(range(len(targets)), key=lambda i: -targets[i].start)
    for i, sample in ((i, sample) for i in longest_first for sample in range(samples)):
        # A few tokens more than the secret has: another spelling may need them.
        need = min(len(targets[i].secret_ids) + _SPARE, context - targets[i].start)
        length = longest + max(new_tokens, need)
        if chunk and (len(chunk) >= rows_within(length, batch_size) or length > context):
            yield chunk, new_tokens
            chunk, new_tokens = [], 0
        longest = longest if chunk else targets[i].start
        chunk.append((i, sample))
        new_tokens = max(new_tokens, need)
    if chunk:
        yield chunk, new_tokens


def positions_of(model: PreTrainedModel, mask_BT: Int[Tensor, "B T"], *, first: int = 0) -> dict[str, Tensor]:
    """Positions from `first` on of a batch padded on the left, as an option for the model: its tokens count from 0.

    A model with absolute positions would count the padding too. Empty where the family takes no positions: it makes
    them, or what stands for them, from the mask.
    """
    if "position_ids" not in signature(model.forward).parameters:
        return {}
    return {"position_ids": (mask_BT.long().cumsum(1) - 1).clamp_min(0)[:, first:]}


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
    processors: Sequence[Callable[[Tensor], LogitsProcessor]] = (),
    **options: Any,
) -> Int[Tensor, "B T"]:
    """The tokens `model.generate` adds to each prompt (token ids, at least one); prompts are padded on the left.

    `processors` make, for the attention mask of the batch, processors of the logits; `options` are of `generate`.
    """
    pad = pad_id(model, tokenizer)
    longest = max(map(len, prompts))
    rows = [torch.tensor(prompt) for prompt in prompts]
    ids_BT = pad_sequence(rows, batch_first=True, padding_value=pad, padding_side="left")
    mask_BT = pad_sequence([torch.ones_like(row) for row in rows], batch_first=True, padding_side="left")
    check_ids(model, ids_BT)
    guides = [make(mask_BT.to(model.device)) for make in processors]
    with torch.no_grad(), evaluating(model):
        out_BT: Tensor = model.generate(
            input_ids=ids_BT.to(input_device(model)),
            attention_mask=mask_BT.to(input_device(model)),
            max_new_tokens=new_tokens,
            num_beams=1,
            pad_token_id=pad,
            logits_processor=guides or None,
            **options,
        )
    return out_BT[:, longest:]


class Drawn(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Logits with noise: greedy decoding of them samples at `temperature`; one seed for each row.

    A prompt's draws depend on the seed and the prompt alone, not on what it is decoded with: the largest of
    logit/T + noise is a draw from softmax(logit/T) (the Gumbel-max trick), and each row has a stream of noise of its
    own. A sampler that draws a whole batch from one stream would give other answers in other batches.
    """

    def __init__(self, *, temperature: float, seeds: Sequence[str]) -> None:
        self._temperature, self._seeds = temperature, seeds
        self._streams: list[torch.Generator] = []

    def __call__(self, _input_ids: Tensor, scores: Tensor) -> Tensor:
        if not self._streams:
            self._streams = [
                torch.Generator(scores.device).manual_seed(random.Random(seed).getrandbits(63)) for seed in self._seeds
            ]
        noisy_BV = scores.float() / self._temperature
        for row_V, stream in zip(noisy_BV, self._streams, strict=True):
            row_V.sub_(torch.empty_like(row_V).exponential_(generator=stream).log_())
        return noisy_BV
