"""The `revs` method: all targets at once.

Targets are edited together as far as memory allows, `targets_at_once` in one solve; those edited before are then what
the next solve must leave alone, like retained records.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from revs.config import EraseConfig
from revs.edit.constraints import Protection, packed, places_like, sampled
from revs.edit.moments import Moments, Progress
from revs.edit.sweep import JointEdit
from revs.errors import BadInput
from revs.model.adapter import Architecture
from revs.model.families import architecture_of, context_length
from revs.model.hooks import check_ids, pad_id
from revs.model.offload import Weights, stored_transposed
from revs.model.vocabulary import Unembedding
from revs.patch.patch import Patch
from revs.targets.preflight import check_request, vocabulary_of
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, tokenise
from revs.targets.variations import INSERTED, perturbed, stand_ins

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_ROUNDS = 3  # over all groups of targets: a later group may bring up what an earlier one brought down


def erase_jointly(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    targets: Sequence[Target],
    config: EraseConfig,
    text: Sequence[str],
    retain: Sequence[Target],
    token_counts_V: Int[Tensor, " V"] | None,
    progress: Progress | None,
    cache: Path | None,
) -> Patch:
    """The `revs` method; arguments as in `erase`."""
    started = time.perf_counter()
    architecture, settings = _check(model, targets, config, retain)
    context = context_length(model)
    prepared = partial(
        tokenise, tokenizer, tokens_per_secret=config.tokens_per_secret, token_counts_V=token_counts_V, context=context
    )
    first: dict[TokenisedTarget, int] = {}
    for number, target in enumerate(prepared(targets)):
        first.setdefault(target, number)
    if not first:
        return Patch.between({}, {}, method=config.method, config=settings)
    check_ids(model, torch.tensor([token for target in first for token in target.ids]))
    kept = prepared(retain, called="retained record") + prepared(
        stand_ins(targets, text, copies=config.stand_ins, seed=config.seed), called="stand-in"
    )
    gathered = Moments.gathered(model, architecture, tokenizer, text, kept, config, cache, progress)
    with closing(gathered) as moments:
        moved = sorted({target.secret_ids[place] for target in first for place in target.chosen})
        unembedding = Unembedding(model, architecture, moved_T=torch.tensor(moved), isolation=config.isolation)
        pad = pad_id(model, tokenizer)
        longest = max(len(target.ids) for target in first)
        # Inserted characters break words into many tokens; what is too much goes in front, for the batch is as wide as
        # its longest row.
        varied = prepared(_varied(targets, config), context=min(context, longest + INSERTED), called="variation")
        pieces = places_like(first, tokenizer, text, longest=longest, most=config.protected_text)
        protection = Protection.read(
            model, architecture, unembedding,
            sampled(kept[: len(retain)], most=config.protected_records, seed=config.seed),
            packed(pieces, longest=max(len(row.ids) for row in (*first, *varied))), pad=pad,
            batch_size=config.batch_size,
        )  # fmt: skip
        numbers, size = list(first.values()), config.targets_at_once
        edits = {
            tuple(group): JointEdit(
                model, architecture, unembedding, config, moments.of, prepared([targets[n] for n in group]),
                [varied[copy + n] for copy in range(0, len(varied), len(targets)) for n in group], protection, pad=pad,
            )
            for group in (numbers[i : i + size] for i in range(0, len(numbers), size))
        }  # fmt: skip
        patch = _settled(model, architecture, edits, moments, config, progress)
    return replace(patch, seconds=time.perf_counter() - started)


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
    with _restored_on_failure(weights) as before:
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


@contextmanager
def _restored_on_failure(weights: Weights) -> Iterator[dict[str, Tensor]]:
    """The weights as they are now, on the CPU; they are put back if the block does not come to its end."""
    before = {name: weight.cpu().clone() for name, weight in weights.items()}
    try:
        yield before
    except BaseException:
        for name, weight in before.items():
            weights[name] = weight
        raise


def _varied(targets: Sequence[Target], config: EraseConfig) -> list[Target]:
    """Variations of the prompts, of another stream of random characters than the perturbation attack draws: it must not
    be met with its own prompts.
    """
    return [
        variation
        for copy in range(config.variations)
        for variation in perturbed(targets, seed=f"variation {copy} of {config.seed}")
    ]


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


def _check(
    model: PreTrainedModel, targets: Sequence[Target], config: EraseConfig, retain: Sequence[Target]
) -> tuple[Architecture, Mapping[str, object]]:
    architecture = architecture_of(model)
    vocabulary = vocabulary_of(model)
    if 2 * config.aim_rank > vocabulary:
        raise BadInput(
            f"aim_rank {config.aim_rank} is more than half of this vocabulary of {vocabulary} tokens; "
            "choose a smaller one"
        )
    check_request(model, architecture, targets, retain, first_layer=config.first_layer)
    return architecture, asdict(config)
