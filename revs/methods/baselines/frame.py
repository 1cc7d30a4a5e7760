"""What all baselines share: the job, the weights that may change, patch and records."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from revs.config import EraseConfig
from revs.edit.request import Request, restored_on_failure
from revs.edit.token_records import ranks_by_layer, token_records
from revs.errors import BadInput
from revs.model.adapter import Architecture
from revs.model.batch import Batch, windows
from revs.model.families import context_length
from revs.model.hooks import check_ids, pad_id
from revs.model.offload import Weights, input_device, stored_transposed
from revs.model.vocabulary import Unembedding
from revs.patch.patch import Patch, TokenRecord
from revs.targets.tokenize import TokenisedTarget, collate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.edit.moments import Progress

C = TypeVar("C", bound=EraseConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[C]):
    """One erasure under way.

    Attributes:
        model, architecture, tokenizer, config: what is edited, and how.
        forget: distinct targets, at least one.
        retain: retained records; text: ordinary text. Either may be empty.
        weights: the weights that may change, by their names in the model.
        before: their values before, on the CPU; never written to.
        progress: called with (stage, done, total).
    """

    model: PreTrainedModel
    architecture: Architecture
    tokenizer: PreTrainedTokenizerBase
    config: C
    forget: Sequence[TokenisedTarget]
    retain: Sequence[TokenisedTarget]
    text: Sequence[str]
    weights: Mapping[str, nn.Parameter]
    before: Mapping[str, Tensor]
    progress: Progress | None

    def keep(self) -> list[TokenisedTarget]:
        """What a retain term runs over: the retained records, else the text from its second token on, else nothing.

        A text that is longer than the context comes in windows of it.
        """
        if self.retain or not self.text:
            return list(self.retain)
        rows = windows(self.tokenizer, self.text, context_length(self.model))
        return [TokenisedTarget(ids=ids, start=1, chosen=()) for ids in rows if len(ids) > 1]

    def batch(self, sequences: Sequence[TokenisedTarget]) -> Batch:
        """Padded, on the model's device."""
        batch = collate(sequences, pad=pad_id(self.model, self.tokenizer), device=input_device(self.model))
        check_ids(self.model, batch.ids_BT)
        return batch

    def batches(self, sequences: Sequence[TokenisedTarget]) -> list[Batch]:
        size = self.config.batch_size
        return [self.batch(sequences[i : i + size]) for i in range(0, len(sequences), size)]

    def report(self, stage: str, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(stage, done, total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline(Generic[C]):
    """A method behind the call that all methods share.

    Attributes:
        settings: class of its settings; a plain `EraseConfig` means their defaults.
        names: (model, architecture, settings) -> names of the weights it may change; refuses settings that do not fit
            the model.
        change: changes `job.weights` in place; called only if there is something to erase.
    """

    settings: type[C]
    names: Callable[[PreTrainedModel, Architecture, C], Sequence[str]]
    change: Callable[[Job[C]], None]

    def __repr__(self) -> str:
        return f"<Baseline {self.settings.__name__}>"

    def __call__(self, request: Request) -> Patch:
        """Erase in place; result and errors as of `revs.erase`. On any exception the weights are restored.

        The request's cache is not used: no baseline gathers anything that a second setting could take up.

        Besides the weights, which it snapshots on the CPU, it leaves gradients, `requires_grad`, training mode and
        torch's random state as they were.
        """
        started = time.perf_counter()
        model, architecture, settings = request.model, request.architecture, request.settings(self.settings)
        request.check()
        names = self.names(model, architecture, settings)
        weights: dict[str, nn.Parameter] = {name: model.get_parameter(name) for name in names}
        _check_placed(settings.method, weights)
        request = replace(request, config=settings)
        first = request.distinct()
        if not first:
            return Patch.between({}, {}, method=settings.method, config=asdict(settings))
        retain = request.tokenised(request.retain, called="retained record")
        with restored_on_failure(Weights(model, names)) as before:
            job = Job(
                model=model, architecture=architecture, tokenizer=request.tokenizer, config=settings,
                forget=list(first), retain=retain, text=request.text, weights=weights, before=before,
                progress=request.progress,
            )  # fmt: skip
            return _patch(job, self.change, list(first.values()), started)


def _check_placed(method: str, weights: Mapping[str, nn.Parameter]) -> None:
    """Refuse offloaded weights among those that the method changes: an optimiser's step would not reach them.

    Raises:
        BadInput: there is one.
    """
    if away := next((name for name, weight in weights.items() if weight.is_meta), None):
        raise BadInput(
            f"method {method!r} changes {away}, which is offloaded; load the model onto devices that hold all of it, "
            "or use method 'revs'"
        )


def _patch(job: Job[C], change: Callable[[Job[C]], None], numbers: Sequence[int], started: float) -> Patch:
    before_N = _ranks(job)
    change(job)
    for name, weight in job.weights.items():
        if not torch.isfinite(weight).all():
            raise BadInput(
                f"the edit of {name} is not finite in {weight.dtype}; lower the learning rate, or edit in float32"
            )
    records = tuple(replace(r, target=numbers[r.target]) for r in _records(job, before_N, _ranks(job)))
    return Patch.between(
        job.before, job.weights, copied=True, transposed=stored_transposed(job.model, job.weights),
        method=job.config.method, config=asdict(job.config), records=records, sweeps=1,
        seconds=time.perf_counter() - started,
    )  # fmt: skip


def _ranks(job: Job[Any]) -> Int[Tensor, " N"]:
    """Rank of every target token in the model's own logits, on the CPU."""
    unembedding = Unembedding(job.model, job.architecture)
    return torch.cat(
        [ranks_by_layer(job.model, job.architecture, unembedding, batch)[0][-1] for batch in job.batches(job.forget)]
    )


def _records(job: Job[Any], before_N: Tensor, after_N: Tensor) -> tuple[TokenRecord, ...]:
    """Such a method does not tell tokens apart: each record counts all changed columns of each layer's FF2."""
    counts = []
    for number, layer in enumerate(job.architecture.decoder_layers(job.model)):
        name = job.architecture.weight_names(number)[0]
        moved = 0
        if name in job.weights:
            differs = job.before[name] != job.weights[name].detach().cpu()
            moved = int(differs.any(1 if job.architecture.transposed(layer)[0] else 0).sum())
        counts.append(moved)
    columns_LN = torch.tensor(counts)[:, None].expand(-1, len(before_N))
    batch = collate(job.forget, pad=0)
    low = job.config.low_rank
    return token_records(
        batch, before_N, after_N, columns_LN, short_N=after_N < low, wanted_N=torch.full_like(after_N, low)
    )
