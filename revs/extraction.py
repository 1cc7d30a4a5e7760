"""Greedy extraction: what the model really says when the prompt is put to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from revs.architectures import context_length
from revs.placement import input_device
from revs.taps import check_ids, evaluating, pad_id
from revs.targets import TokenisedTarget

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
    """For each target, whether greedy decoding from its prompt reproduces its secret (Carlini et al. 2023).

    Compared as text, so a secret spelled by other tokens counts as extracted too. Prompts are padded on the left and
    decoded in batches, longest first. Settings saved with the checkpoint, such as a repetition penalty, are put aside.
    """
    extracted = [False] * len(targets)
    context = context_length(model)
    for chunk, new_tokens in _chunks(targets, context, batch_size):
        with _plain_decoding(model):
            answers = _decode(model, tokenizer, [targets[i] for i in chunk], new_tokens)
        for i, answer in zip(chunk, answers, strict=True):
            secret = tokenizer.decode(targets[i].secret_ids).strip()
            extracted[i] = answer.strip().startswith(secret)
    return extracted


def _chunks(targets: Sequence[TokenisedTarget], context: int, batch_size: int) -> Iterator[tuple[list[int], int]]:
    """Indices of targets to decode together, and the number of new tokens that all of them get within the context."""
    chunk: list[int] = []
    new_tokens = longest = 0
    for i in sorted(range(len(targets)), key=lambda i: -targets[i].start):
        # A few tokens more than the secret has: another spelling may need them.
        need = min(len(targets[i].secret_ids) + _SPARE, context - targets[i].start)
        if chunk and (len(chunk) == batch_size or longest + max(new_tokens, need) > context):
            yield chunk, new_tokens
            chunk, new_tokens = [], 0
        longest = longest if chunk else targets[i].start
        chunk.append(i)
        new_tokens = max(new_tokens, need)
    if chunk:
        yield chunk, new_tokens


@contextmanager
def _plain_decoding(model: PreTrainedModel) -> Iterator[None]:
    """Without the checkpoint's own generation settings: a repetition penalty would hide a memorised number."""
    from transformers import GenerationConfig

    kept = model.generation_config
    model.generation_config = GenerationConfig(bos_token_id=kept.bos_token_id, eos_token_id=kept.eos_token_id)
    try:
        yield
    finally:
        model.generation_config = kept


def _decode(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, targets: Sequence[TokenisedTarget], new_tokens: int
) -> list[str]:
    pad = pad_id(model, tokenizer)
    longest = max(target.start for target in targets)
    ids_BT = torch.full((len(targets), longest), pad)
    mask_BT = torch.zeros_like(ids_BT)
    for row, target in enumerate(targets):
        ids_BT[row, longest - target.start :] = torch.tensor(target.ids[: target.start])
        mask_BT[row, longest - target.start :] = 1
    check_ids(model, ids_BT)
    with torch.no_grad(), evaluating(model):
        out_BT = model.generate(
            input_ids=ids_BT.to(input_device(model)),
            attention_mask=mask_BT.to(input_device(model)),
            max_new_tokens=new_tokens,
            do_sample=False,
            num_beams=1,
            pad_token_id=pad,
        )
    return list(tokenizer.batch_decode(out_BT[:, longest:], skip_special_tokens=True))
