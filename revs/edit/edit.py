"""The joint edit: all targets at once, down to where an aim wants them.

Targets are edited together as far as memory allows, `targets_at_once` in one solve; those edited before are then what
the next solve must leave alone, like retained records.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from revs.config import EraseConfig
from revs.edit.aim import Aim
from revs.edit.constraints import Protection, packed, places_like, sharing
from revs.edit.moments import Moments, Progress
from revs.edit.request import Request, restored_on_failure
from revs.edit.sweep import JointEdit
from revs.model.adapter import Architecture
from revs.model.families import context_length
from revs.model.hooks import check_ids, pad_id
from revs.model.offload import Weights, stored_transposed
from revs.model.vocabulary import Unembedding
from revs.patch.patch import Patch
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget
from revs.targets.variations import INSERTED

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ROUNDS = 3  # over all groups of targets: a later group may bring up what an earlier one brought down


@dataclass(frozen=True, slots=True, kw_only=True)
class Approach:
    """What one way of the joint edit asks for.

    Attributes:
        kept: what C holds beside ordinary text; the retained records come first.
        varied: other prompts with the same secrets, copy after copy of all targets.
        aim: makes the aim of some targets, given by their numbers and as token ids.
    """

    kept: list[TokenisedTarget]
    varied: list[Target]
    aim: Callable[[Unembedding, Sequence[int], Sequence[TokenisedTarget]], Aim]


def edited(request: Request, ask: Callable[[], Approach]) -> Patch:
    """Edit the model of a request; `ask` gives the approach once the request has been checked."""
    started = time.perf_counter()
    model, tokenizer, config, targets = request.model, request.tokenizer, request.config, request.targets
    architecture, text = request.architecture, request.text
    request.check()
    first = request.distinct()
    if not first:
        return Patch.between({}, {}, method=config.method, config=asdict(config))
    check_ids(model, torch.tensor([token for target in first for token in target.ids]))
    approach = ask()
    kept = approach.kept
    gathered = Moments.gathered(model, architecture, tokenizer, text, kept, config, request.cache, request.progress)
    with closing(gathered) as moments:
        moved = sorted({target.secret_ids[place] for target in first for place in target.chosen})
        unembedding = Unembedding(model, architecture, moved_T=torch.tensor(moved), isolation=config.isolation)
        pad = pad_id(model, tokenizer)
        longest = max(len(target.ids) for target in first)
        # Inserted characters break words into many tokens; what is too much goes in front, for the batch is as wide as
        # its longest row.
        within = min(context_length(model), longest + INSERTED)
        varied = _alike(
            request.tokenised(targets), request.tokenised(approach.varied, context=within, called="variation")
        )
        pieces = places_like(first, tokenizer, text, longest=longest, most=config.protected_text)
        protection = Protection.read(
            model, architecture, unembedding,
            sharing(
                kept[: len(request.retain)], kept[len(request.retain) :], set(moved),
                most=config.protected_records, seed=config.seed,
            ),
            packed(pieces, longest=max(len(row.ids) for row in (*first, *varied))), pad=pad,
            batch_size=config.batch_size,
        )  # fmt: skip
        numbers, size = list(first.values()), config.targets_at_once
        edits = {}
        for group in (numbers[i : i + size] for i in range(0, len(numbers), size)):
            own = request.tokenised([targets[n] for n in group])
            edits[tuple(group)] = JointEdit(
                model, architecture, unembedding, config, moments.of, own,
                [varied[copy + n] for copy in range(0, len(varied), len(targets)) for n in group], protection,
                approach.aim(unembedding, group, own), pad=pad,
            )  # fmt: skip
        patch = _settled(model, architecture, edits, moments, config, request.progress)
    return replace(patch, seconds=time.perf_counter() - started)


def _alike(targets: Sequence[TokenisedTarget], varied: Sequence[TokenisedTarget]) -> list[TokenisedTarget]:
    """The variations, copy after copy of all targets; the target itself where another prompt splits the secret anew."""
    wanted = cycle(targets)
    return [one if one.secret_ids == target.secret_ids else target for one, target in zip(varied, wanted, strict=False)]


def _settled(
    model: PreTrainedModel,
    architecture: Architecture,
    edits: Mapping[tuple[int, ...], JointEdit],
    moments: Moments,
    config: EraseConfig,
    progress: Progress | None,
) -> Patch:
    """The patch of all edits, by the numbers of their targets; on a failure every weight is as it was."""
    layers = range(config.first_layer, len(architecture.decoder_layers(model)))
    weights = Weights(model, (name for layer in layers for name in architecture.weight_names(layer)))
    with restored_on_failure(weights) as before:
        _settle(list(edits.values()), moments, progress)
        return Patch.between(
            before,
            weights,
            copied=True,
            factors=_joined([edit.factors() for edit in edits.values()]),
            transposed=stored_transposed(model, weights),
            method=config.method,
            config=asdict(config),
            records=tuple(record for group, edit in edits.items() for record in edit.records(group)),
            sweeps=max(edit.sweeps for edit in edits.values()),
        )


def _settle(edits: Sequence[JointEdit], moments: Moments, progress: Progress | None) -> None:
    """Settle one group of targets after the other, until a round over all of them moves nothing."""
    for _ in range(_ROUNDS if len(edits) > 1 else 1):
        moved = False
        for number, edit in enumerate(edits):
            moved |= edit.settle(progress)
            if len(edits) > 1:
                moments.protect(number, edit.keys_Lnm)
        if not moved:
            return
    for edit in edits[:-1]:  # what the last round did to those before
        edit.read()


def _joined(parts: Sequence[Mapping[str, tuple[Tensor, Tensor]]]) -> dict[str, tuple[Tensor, Tensor]]:
    """Factors of the sum of the parts' products."""
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for part in parts:
        for name, (left, right) in part.items():
            if name in found:
                left, right = torch.cat([found[name][0], left], dim=1), torch.cat([found[name][1], right])
            found[name] = (left, right)
    return found
