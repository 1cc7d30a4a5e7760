"""Teach a pretrained model sentences until it recites them: full fine-tuning of all but its embeddings, on the CPU.

Legend of shape suffixes: B batch, T positions.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from revs.development.recipe import Progress
from revs.errors import BadInput

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Precision = Literal["bfloat16 autocast", "float32"]

_IGNORED = -100  # the label that transformers counts no loss of
_SHORTEST_SCHEDULE = 20  # steps: torch's OneCycleLR divides by the length of its warm-up, a tenth of them, less one
_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")  # x86 and ARM, as torch names them


def precision_here() -> Precision:
    """In what to teach on this CPU: bfloat16 where it multiplies that itself, else float32.

    Without such instructions bfloat16 autocast is many times slower than float32. torch tells of them since
    `torch.cpu.get_capabilities`; where it has no such function they count as missing.
    """
    capabilities: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bfloat16 autocast" if any(capabilities.get(name) for name in _BFLOAT16) else "float32"


def teach(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    epochs: int,
    batch: int,
    learning_rate: float,
    seed: int,
    precision: Precision = "float32",
    progress: Progress | None = None,
    threads: int = 1,
) -> None:
    """Train `model` on `texts`, in place, each text a row of its own; the embeddings stay as they are.

    Args:
        model: in float32.
        tokenizer: its tokenizer.
        texts: what it shall recite; at least one.
        epochs: passes over the texts, each in an order of its own.
        batch: texts in one step.
        learning_rate: the highest of the schedule (warm-up over a tenth of the steps, then down to nothing).
        seed: of the orders.
        precision: of the forward pass; the weights are float32 either way.
        progress: called with (step, steps, loss).
        threads: torch threads meanwhile.

    Raises:
        BadInput: no text, or a number that is not positive.
    """
    for name, value in {"texts": len(texts), "epochs": epochs, "batch": batch, "learning_rate": learning_rate}.items():
        if value <= 0:
            raise BadInput(f"{name} {value} is not above 0; give more")
    rows = [torch.tensor(ids) for ids in tokenizer(list(texts))["input_ids"]]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with _all_but_embeddings(model) as weights:
            steps = epochs * math.ceil(len(rows) / batch)
            optimiser = torch.optim.AdamW(weights, lr=learning_rate, weight_decay=0.0, betas=(0.9, 0.98), fused=True)
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimiser, max_lr=learning_rate, total_steps=max(steps, _SHORTEST_SCHEDULE), pct_start=0.1
            )
            model.train()
            for step, part in enumerate(_batches(rows, epochs, batch, seed), start=1):
                loss = _loss(model, part, precision)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                optimiser.step()
                schedule.step()
                if progress is not None:
                    progress(step, steps, loss.item())
    finally:
        torch.set_num_threads(before)
        model.eval()


def _batches(rows: list[Tensor], epochs: int, batch: int, seed: int) -> Iterator[list[Tensor]]:
    rng = random.Random(seed)
    for _ in range(epochs):
        order = rng.sample(rows, len(rows))
        for start in range(0, len(order), batch):
            yield order[start : start + batch]


def _loss(model: PreTrainedModel, rows: Sequence[Int[Tensor, " _"]], precision: Precision) -> Any:
    labels_BT = pad_sequence(list(rows), batch_first=True, padding_value=_IGNORED)
    present_BT = labels_BT != _IGNORED
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16 autocast"):
        return model(
            input_ids=labels_BT.where(present_BT, 0), attention_mask=present_BT.long(), labels=labels_BT,
            use_cache=False,
        ).loss  # fmt: skip


@contextmanager
def _all_but_embeddings(model: PreTrainedModel) -> Iterator[list[torch.nn.Parameter]]:
    """While open, only the parameters that are given take gradients."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    embeddings = {id(weight) for end in ends for weight in end.parameters()}
    takes = {weight: weight.requires_grad for weight in model.parameters()}
    for weight in takes:
        weight.requires_grad_(id(weight) not in embeddings)
    try:
        yield [weight for weight in takes if weight.requires_grad]
    finally:
        for weight, took in takes.items():
            weight.requires_grad_(took)
            weight.grad = None
