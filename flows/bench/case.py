"""The case of the benchmarks: a development model, and what is asked of an edit on it.

20 invented people ask for erasure and 20 do not, five sentences each; 240 one-off records stand beside them. Each
secret is erased from one of its contexts; the other four are unseen. Half of the other people are given as `retain`;
specificity is measured on all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import revs
from revs.development import DevelopmentModel, Recipe
from revs.evaluation.perplexity import perplexity
from revs.targets.rarity import count_tokens
from revs.targets.target import Target

if TYPE_CHECKING:
    from torch import Tensor

SIZES: dict[str, dict[str, int]] = {
    "small": {},
    "medium": {"vocab_size": 4096, "hidden_size": 192, "intermediate_size": 768, "layers": 6, "heads": 6},
}


def recipe(architecture: str, size: str, seed: int, *, digits: int = 3) -> Recipe:
    """The recipe of a benchmark model; size: a key of `SIZES`; digits: in a token of a number, at most, 3 or 1."""
    shape: dict[str, Any] = {"architecture": architecture, "digits": digits, **SIZES[size]}
    return Recipe(requesters=20, retained=20, one_off=240, contexts=5, seed=seed, **shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One development model and what is asked of it.

    Attributes:
        edit, unseen: a target per secret, and its other contexts.
        given, not_given: records of other people that an edit is told to keep, and those it is not told of.
        unrelated: one-off records, of people who are neither.
        other_templates: as many of others, in sentences of templates that the model never saw.
        counts_V: counts of token ids over the training corpus.
        perplexity: of the model before any edit, over `held_out`.
    """

    model: DevelopmentModel
    edit: list[Target]
    unseen: list[Target]
    given: list[Target]
    not_given: list[Target]
    unrelated: list[Target]
    other_templates: list[Target]
    counts_V: Tensor
    perplexity: float

    @property
    def text(self) -> list[str]:
        return list(self.model.ordinary[:400])

    @property
    def held_out(self) -> list[str]:
        return list(self.model.held_out)


def case_of(model: DevelopmentModel) -> Case:
    """The case of a development model that has one identifier a person; loads the model once."""
    contexts: dict[tuple[str, int], list[Target]] = {}
    for record in model.records:
        contexts.setdefault((record.kind, record.person), []).append(Target.at(record.text, record.start, record.end))
    asked = [found for (kind, _), found in contexts.items() if kind == "requester"]
    others = [found for (kind, _), found in contexts.items() if kind == "retained"]
    loaded, tokenizer = revs.load(model.folder)
    return Case(
        model=model,
        edit=[found[0] for found in asked],
        unseen=[target for found in asked for target in found[1:]],
        given=[target for found in others[::2] for target in found],
        not_given=[target for found in others[1::2] for target in found],
        unrelated=[target for (kind, _), found in contexts.items() if kind == "one-off" for target in found],
        other_templates=[Target.at(record.text, record.start, record.end) for record in model.unlike()],
        counts_V=count_tokens(
            tokenizer, model.corpus(), secrets=sorted({t.secret.strip() for f in contexts.values() for t in f})
        ),
        perplexity=perplexity(loaded, tokenizer, model.held_out) or 0.0,
    )
