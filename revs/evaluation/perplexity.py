"""Perplexity: exp of the mean token loss over text, in windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from revs.model.batch import rows_within
from revs.model.families import context_length
from revs.model.hooks import check_ids, evaluating
from revs.model.offload import input_device

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def perplexity(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: Sequence[str],
    *,
    window: int = 512,
    batch_size: int = 16,
) -> float | None:
    """Perplexity of `text`, its rows joined and cut into windows of at most `window` tokens or the model's context.

    None where there are fewer than two tokens. The last, shorter window counts with its own tokens.
    """
    ids = [token for row in (tokenizer(list(text))["input_ids"] if text else []) for token in row]
    window = min(window, context_length(model))
    flat = torch.tensor(ids, dtype=torch.int64)
    full = len(ids) // window * window
    at_once = rows_within(window, batch_size)
    batches = list(torch.split(flat[:full].view(-1, window), at_once)) if full else []
    if len(ids) - full > 1:
        batches.append(flat[full:][None])
    loss, count = 0.0, 0
    with torch.no_grad(), evaluating(model):
        for ids_BT in batches:
            check_ids(model, ids_BT)
            logits_BTV = model(input_ids=ids_BT.to(input_device(model)), use_cache=False).logits[:, :-1].float()
            labels_BT = ids_BT[:, 1:].to(logits_BTV.device)
            loss += float(
                torch.nn.functional.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten(), reduction="sum")
            )
            count += labels_BT.numel()
    return float(torch.tensor(loss / count, dtype=torch.float64).exp()) if count else None
