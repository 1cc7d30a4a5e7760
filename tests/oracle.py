"""The paper's algorithm as it is written there: slow, obvious, and with nothing of the library in it.

REVS (Ashuach, Tutek and Belinkov 2025, section 3 and the appendix on the edit of one neuron): for every target token
and every layer, one plain forward pass reads the residual stream. While the token ranks too high there, one more
column of the MLP's second matrix is edited: of the columns with the largest activation, the one that gives the token
the highest rank. A column is edited by trial: its projection to the vocabulary is taken, the token's logit lowered by
the step, the logits projected back with the pseudo-inverse of the unembedding and the inverse of the final norm; the
step is multiplied by 1.3 while the token's rank is too small and by 0.8 when it is past the band. Nothing is undone.

Not taken over: the inverse of the norm uses what the norm divided by (RMS: the mean square, without a mean). Where the
paper is silent and a choice was made, the field of `OracleSettings` says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleSettings:
    """Ranks are counted from 0, both ends of a band belong to it, and all are absolute: scale them to the vocabulary.

    Attributes:
        max_columns: columns edited per layer and token at most (paper: Llama 130 or 45, GPT-J 30).
        act_filter: only this many of the most active columns are looked at (paper: 1,000; 100).
        column_band: where the token's rank in an edited column must lie (paper, GPT-J: 30,000 to 45,000 of 50,400).
        residual_low: columns are added until the token ranks at least here in the residual (GPT-J: 1,000).
        mlp_low: and at least here in the MLP's output (GPT-J: 1,000); 0 asks nothing.
        first_step: change of the token's logit in the first trial.
        grow, shrink: factors of the step; a trial starts from the column as it was, not from the last trial.
        max_trials: of one column; the last trial stays (our choice: without a limit the search need not end).
    """

    max_columns: int
    act_filter: int
    column_band: tuple[int, int]
    residual_low: int
    mlp_low: int = 0
    first_step: float = -10.0
    grow: float = 1.3
    shrink: float = 0.8
    max_trials: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A column after its search: the new values, the rank there, the number of trials, whether it is in the band."""

    column: Tensor
    rank: int
    trials: int
    hit: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """One column that was taken: where, for which token, and how its search ended; without a trial it is unchanged."""

    layer: int
    column: int
    token: int
    rank: int
    trials: int
    hit: bool


@dataclass(slots=True)
class OracleResult:
    """The columns that were taken, in order, and the number of forward passes that took."""

    edited: list[Edited] = field(default_factory=list)
    forward_passes: int = 0


class Vocabulary:
    """To the vocabulary and back, in float64: y = norm(x), logits = U y + bias, and the inverse of both."""

    def __init__(
        self, unembed: Tensor, gain: Tensor, eps: float, *, centred: bool, norm_bias: Any = None, head_bias: Any = None
    ) -> None:
        self.unembed, self.gain, self.eps, self.centred = unembed.double(), gain.double(), eps, centred
        self.norm_bias = torch.zeros_like(self.gain) if norm_bias is None else norm_bias.double()
        self.head_bias = self.unembed.new_zeros(len(unembed)) if head_bias is None else head_bias.double()
        self.pseudo_inverse = torch.linalg.pinv(self.unembed)

    def mean_and_scale(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """What the norm subtracts and what it divides by."""
        mean = vector.mean() if self.centred else torch.zeros((), dtype=torch.float64)
        return mean, (((vector - mean) ** 2).mean() + self.eps) ** 0.5

    def logits(self, vector: Tensor) -> Tensor:
        vector = vector.double()
        mean, scale = self.mean_and_scale(vector)
        return self.unembed @ ((vector - mean) / scale * self.gain + self.norm_bias) + self.head_bias

    def back(self, logits: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        normed = self.pseudo_inverse @ (logits - self.head_bias)
        return (normed - self.norm_bias) / self.gain * scale + mean

    def rank(self, vector: Tensor, token: int) -> int:
        logits = self.logits(vector)
        return int((logits > logits[token]).sum())


def adjust_rank(column: Tensor, token: int, vocabulary: Vocabulary, settings: OracleSettings) -> Trial:
    """Search the step of one column by trial and error; a column where the token is low enough stays as it is."""
    low, high = settings.column_band
    column = column.double()
    mean, scale = vocabulary.mean_and_scale(column)
    logits = vocabulary.logits(column)
    new, rank, step, trials = column, vocabulary.rank(column, token), settings.first_step, 0
    needs_it = rank < low
    while needs_it and not low <= rank <= high and trials < settings.max_trials:
        if trials > 0:
            step *= settings.grow if rank < low else settings.shrink
        lowered = logits.clone()
        lowered[token] += step
        new = vocabulary.back(lowered, mean, scale)
        rank = vocabulary.rank(new, token)
        trials += 1
    return Trial(column=new, rank=rank, trials=trials, hit=low <= rank <= high)


def pick_columns(
    keys: Tensor, weight: Tensor, token: int, vocabulary: Vocabulary, settings: OracleSettings
) -> list[int]:
    """Columns to edit, best first: the highest rank of the token first, the more active of two that tie."""
    by_activation = sorted(range(len(keys)), key=lambda column: -abs(float(keys[column])))
    active = by_activation[: settings.act_filter]
    by_rank = sorted(active, key=lambda column: vocabulary.rank(weight[:, column], token))
    return by_rank[: settings.max_columns]


def unlearn(model: Any, tokens: Sequence[tuple[Sequence[int], int]], settings: OracleSettings) -> OracleResult:
    """Edit the model in place, token after token, and for each of them layer after layer.

    `tokens`: the ids up to the target token, without it, and its own id.
    """
    result, vocabulary = OracleResult(), vocabulary_of(model)
    for ids, token in tokens:
        for layer in range(len(blocks(model))):
            edit_layer(model, list(ids), token, layer, vocabulary, settings, result)
    return result


def edit_layer(
    model: Any,
    ids: list[int],
    token: int,
    layer: int,
    vocabulary: Vocabulary,
    settings: OracleSettings,
    result: OracleResult,
) -> None:
    second = second_matrix(blocks(model)[layer])
    keys, residual = read_layer(model, ids, layer)
    result.forward_passes += 1
    bias = 0.0 if second.bias is None else second.bias.detach().double()
    first_output = second.weight.detach().double() @ keys + bias
    columns: list[int] | None = None
    for number in range(settings.max_columns):
        output = second.weight.detach().double() @ keys + bias
        low_enough = vocabulary.rank(residual - first_output + output, token) >= settings.residual_low
        if low_enough and vocabulary.rank(output, token) >= settings.mlp_low:
            return
        if columns is None:
            columns = pick_columns(keys, second.weight.detach(), token, vocabulary, settings)
        if number >= len(columns):
            return
        column = columns[number]
        trial = adjust_rank(second.weight.detach()[:, column], token, vocabulary, settings)
        with torch.no_grad():
            second.weight[:, column] = trial.column.to(second.weight.dtype)
        result.edited.append(
            Edited(layer=layer, column=column, token=token, rank=trial.rank, trials=trial.trials, hit=trial.hit)
        )


def read_layer(model: Any, ids: list[int], layer: int) -> tuple[Tensor, Tensor]:
    """One plain forward pass: the input of the second matrix and the residual behind the layer, last position."""
    seen: dict[str, Tensor] = {}
    block = blocks(model)[layer]
    with torch.no_grad(), hooked(block, second_matrix(block), seen):
        model(input_ids=torch.tensor([ids]), use_cache=False)
    return seen["keys"][0, -1].double(), seen["residual"][0, -1].double()


@contextmanager
def hooked(block: Any, second: Any, seen: dict[str, Tensor]) -> Iterator[None]:
    def keep_keys(_module: Any, inputs: tuple[Tensor, ...]) -> None:
        seen["keys"] = inputs[0]

    def keep_residual(_module: Any, _inputs: Any, output: Any) -> None:
        seen["residual"] = output[0] if isinstance(output, tuple) else output

    handles = [second.register_forward_pre_hook(keep_keys), block.register_forward_hook(keep_residual)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def blocks(model: Any) -> Any:
    return model.model.layers if hasattr(model, "model") else model.transformer.h


def second_matrix(block: Any) -> Any:
    return block.mlp.down_proj if hasattr(block.mlp, "down_proj") else block.mlp.fc_out


def vocabulary_of(model: Any) -> Vocabulary:
    head = model.lm_head
    centred = hasattr(model, "transformer")
    norm = model.transformer.ln_f if centred else model.model.norm
    return Vocabulary(
        head.weight.detach(),
        norm.weight.detach(),
        norm.eps if centred else norm.variance_epsilon,
        centred=centred,
        norm_bias=norm.bias.detach() if centred else None,
        head_bias=None if head.bias is None else head.bias.detach(),
    )
