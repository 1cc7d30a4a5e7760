"""Which contexts are probed, which are edited, which are kept to measure on: of rows and their places, without a model.

Contexts of one secret that are near duplicates form a group: a few of each are probed and edited, the others are copies
of them. Some groups are held out as a whole, so that no unseen context is a copy of an edited one.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Hashable, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from infra.corpus import Corpus
from tasks.batch.targets import Row, in_chunks, targets_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

UNSEEN_SHARE = 0.5  # of the groups of contexts of a secret that has three or more: kept from the edit, for generality
MEASURED_SHARE = 0.25  # of the retained secrets: kept from the edit, to measure specificity
PER_GROUP = 3  # contexts of a group of near duplicates that are probed and edited
ORDINARY_ROWS, HELD_OUT_ROWS = 400, 200
_END = 64  # tokens of a prompt that are kept to compare it with others; `revs.discover.contexts` looks at no more


def group(corpus: Corpus, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> None:
    """Give each row the "group" of near-duplicate contexts that it is in, and whether it is a "copy" of others in it.

    Groups are numbered through the batch. What is kept of a context meanwhile is its end and a hash of its tokens.
    """
    from revs.discover.contexts import grouped, representatives
    from revs.targets.tokenize import tokenise

    by_secret: dict[tuple[str, int], list[int]] = defaultdict(list)
    ends: list[tuple[int, ...]] = []
    contexts: list[Hashable] = []
    for some in in_chunks(rows):
        for target in tokenise(tokenizer, targets_of(corpus, some)):
            ends.append(target.ids[: target.start][-_END:])
            contexts.append((hash(target.ids), len(target.ids)))
    for place, row in enumerate(rows):
        by_secret[secret_of(row)].append(place)
    before = 0
    for places in by_secret.values():
        groups = grouped([ends[place] for place in places])
        standing = set(representatives([contexts[place] for place in places], groups, at_most=PER_GROUP))
        for number, (place, group) in enumerate(zip(places, groups, strict=True)):
            rows[place].update(group=before + group, copy=number not in standing)
        before += max(groups) + 1


def planned(
    rows: list[Row], rng: random.Random, *, known_elsewhere: AbstractSet[tuple[str, int]] = frozenset()
) -> list[Row]:
    """Decide the use of every target.

    "edit" or "unseen" where the secret is memorised, or exposed, in any context or without one (`known_elsewhere`:
    request and number of the identifier); "none" where in none; "copy" of a context that was probed; "unprobed" where
    it could not be put to the model.
    """
    from revs.discover.contexts import held_out

    by_secret: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        if "unprobed" not in row:
            by_secret[secret_of(row)].append(row)
    for secret, contexts in by_secret.items():
        probed = [row for row in contexts if not row["copy"]]
        known = secret in known_elsewhere or any(row["memorised"] or row["exposed"] for row in probed)
        aside = held_out([row["group"] for row in probed], share=UNSEEN_SHARE, rng=rng) if known else set()
        for row in probed:
            row["use"] = ("unseen" if row["group"] in aside else "edit") if known else "none"
    return [
        {**_not_asked(row), **{key: value for key, value in row.items() if key != "copy"}, "id": f"T{number:04d}"}
        for number, row in enumerate(rows)
    ]


def _not_asked(row: Row) -> Row:
    """What a target that was not put to the model holds in place of answers."""
    use = "unprobed" if "unprobed" in row else "copy" if row["copy"] else ""
    return {"use": use, "memorised": False, "exposed": False} if use else {}


def parts(corpus: Corpus, others: list[Row], rng: random.Random) -> list[Row]:
    """Split others' identifiers by secret: what the edit protects, and what specificity is measured on.

    Identifiers that are not memorised cannot be lost; all are protected, since they show the type without a secret.
    """
    by_secret: dict[str, list[int]] = defaultdict(list)
    for place, other in enumerate(others):
        if other["memorised"]:
            by_secret[corpus.text(other["row"])[other["start"] : other["end"]]].append(place)
    secrets = sorted(by_secret)
    measured = rng.sample(secrets, max(1, round(MEASURED_SHARE * len(secrets)))) if len(secrets) > 1 else secrets
    places = {place for secret in measured for place in by_secret[secret]}
    return [{**other, "part": "measure" if place in places else "protect"} for place, other in enumerate(others)]


def text_rows(corpus: Corpus, taken: set[int], rng: random.Random) -> dict[str, Any]:
    """Rows without any known identifier: some to hold still during the edit, others to measure perplexity on."""
    wanted = ORDINARY_ROWS + HELD_OUT_ROWS
    # so many are drawn that enough are free, and no list of all rows is made
    drawn = rng.sample(range(len(corpus)), min(wanted + len(taken), len(corpus)))
    rows = [row for row in drawn if row not in taken][:wanted]
    cut = len(rows) * ORDINARY_ROWS // (ORDINARY_ROWS + HELD_OUT_ROWS)
    return {"ordinary_rows": rows[:cut], "held_out_rows": rows[cut:]}


def secret_of(row: Row) -> tuple[str, int]:
    """Whose context a row is: the request, and the number of the identifier in it."""
    return row["request_id"], row["identifier"]
