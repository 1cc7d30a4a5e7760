"""Which contexts are probed, which are edited, which are kept to measure on: of rows and their places, without a model.

Contexts of one secret that are near duplicates form a group: a few of each are probed and edited, the others are copies
of them. Some groups are held out as a whole, so that no unseen context is a copy of an edited one.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.batches.records import AmongDecoys, Context, Greedy, Key, OtherContext, PlannedContext, Use
from infra.corpus import Corpus
from tasks.batch.contexts import in_chunks, targets_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNSEEN_SHARE = 0.5  # of the groups of contexts of a secret that has three or more: kept from the edit, for generality
MEASURED_SHARE = 0.25  # of the retained secrets: kept from the edit, to measure specificity
PER_GROUP = 3  # contexts of a group of near duplicates that are probed and edited
ORDINARY_ROWS, HELD_OUT_ROWS = 400, 200
_END = 64  # tokens of a prompt that are kept to compare it with others; `revs.discover.contexts` looks at no more


@dataclass(slots=True, kw_only=True)
class Case:
    """One context on its way through the probes, which fill it in."""

    context: Context
    group: int | None = None
    copy: bool = False
    """Whether others of its group are probed in its place."""
    greedy: Greedy | None = None
    decoys: AmongDecoys | None = None

    @property
    def key(self) -> Key:
        return self.context.key

    @property
    def memorised(self) -> bool:
        return self.greedy is not None and self.greedy.memorised

    @property
    def known(self) -> bool:
        """Whether it is memorised or exposed."""
        return self.memorised or (self.decoys is not None and self.decoys.exposed)


def group(corpus: Corpus, cases: Sequence[Case], tokenizer: PreTrainedTokenizerBase) -> None:
    """Give each case the group of near-duplicate contexts that it is in, and whether it is a copy of others in it.

    Groups are numbered through the batch. What is kept of a context meanwhile is its end and a hash of its tokens.
    """
    from revs.discover.contexts import grouped, representatives
    from revs.targets.tokenize import tokenise

    by_secret: dict[Key, list[int]] = defaultdict(list)
    ends: list[tuple[int, ...]] = []
    contexts: list[Hashable] = []
    for some in in_chunks(cases):
        for target in tokenise(tokenizer, targets_of(corpus, [case.context for case in some])):
            ends.append(target.ids[: target.start][-_END:])
            contexts.append((hash(target.ids), len(target.ids)))
    for place, case in enumerate(cases):
        by_secret[case.key].append(place)
    before = 0
    for places in by_secret.values():
        groups = grouped([ends[place] for place in places])
        standing = set(representatives([contexts[place] for place in places], groups, at_most=PER_GROUP))
        for number, (place, group) in enumerate(zip(places, groups, strict=True)):
            cases[place].group, cases[place].copy = before + group, number not in standing
        before += max(groups) + 1


def planned(
    cases: Sequence[Case], rng: random.Random, *, known_elsewhere: AbstractSet[Key] = frozenset()
) -> tuple[PlannedContext, ...]:
    """Decide the use of every context (`PlannedContext`); `known_elsewhere`: identifiers known without a context."""
    by_secret: dict[Key, list[int]] = defaultdict(list)
    for number, case in enumerate(cases):
        if case.context.unprobed is None and not case.copy:
            by_secret[case.key].append(number)
    uses: dict[int, Use] = {}
    for key, numbers in by_secret.items():
        uses |= _uses([cases[number] for number in numbers], numbers, rng, elsewhere=key in known_elsewhere)
    return tuple(
        PlannedContext(
            id=f"T{number:04d}",
            context=case.context,
            use=uses.get(number, "unprobed" if case.context.unprobed else "copy"),
            group=case.group,
            greedy=case.greedy,
            decoys=case.decoys,
        )
        for number, case in enumerate(cases)
    )


def _uses(probed: Sequence[Case], numbers: Sequence[int], rng: random.Random, *, elsewhere: bool) -> dict[int, Use]:
    """The uses of the probed contexts of one secret, under their numbers."""
    from revs.discover.contexts import held_out

    if not elsewhere and not any(case.known for case in probed):
        return dict.fromkeys(numbers, "none")
    groups = [case.group for case in probed if case.group is not None]
    aside = held_out(groups, share=UNSEEN_SHARE, rng=rng)
    return {n: "unseen" if group in aside else "edit" for n, group in zip(numbers, groups, strict=True)}


def parts(corpus: Corpus, others: Sequence[Case], rng: random.Random) -> tuple[OtherContext, ...]:
    """Split others' identifiers by secret: what the edit protects, and what specificity is measured on.

    Identifiers that are not memorised cannot be lost; all are protected, since they show the type without a secret.
    """
    by_secret: dict[str, list[int]] = defaultdict(list)
    for place, other in enumerate(others):
        if other.memorised:
            found = other.context.occurrence
            by_secret[corpus.text(found.row)[found.start : found.end]].append(place)
    secrets = sorted(by_secret)
    measured = rng.sample(secrets, max(1, round(MEASURED_SHARE * len(secrets)))) if len(secrets) > 1 else secrets
    places = {place for secret in measured for place in by_secret[secret]}
    return tuple(
        OtherContext(context=other.context, greedy=other.greedy, part="measure" if place in places else "protect")
        for place, other in enumerate(others)
        if other.greedy is not None
    )


def text_rows(corpus: Corpus, taken: set[int], rng: random.Random) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Rows without any known identifier: some to hold still during the edit, others to measure perplexity on."""
    wanted = ORDINARY_ROWS + HELD_OUT_ROWS
    # so many are drawn that enough are free, and no list of all rows is made
    drawn = rng.sample(range(len(corpus)), min(wanted + len(taken), len(corpus)))
    rows = tuple(row for row in drawn if row not in taken)[:wanted]
    cut = len(rows) * ORDINARY_ROWS // (ORDINARY_ROWS + HELD_OUT_ROWS)
    return rows[:cut], rows[cut:]
