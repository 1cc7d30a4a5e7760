"""Stage 4: what the model memorised of what was found, and which contexts are edited and which are kept to measure on.

Contexts of one secret that are near duplicates form a group: a few of each are probed and edited, the others are copies
of them. Some groups are held out as a whole, so that no unseen context is a copy of an edited one.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from infra.corpus import Corpus
from tasks.records import Probed
from tasks.stage import Handles, handles, stage

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.targets import Target

UNSEEN_SHARE = 0.5  # of the groups of contexts of a secret that has three or more: kept from the edit, for generality
MEASURED_SHARE = 0.25  # of the retained secrets: kept from the edit, to measure specificity
PER_GROUP = 3  # contexts of a group of near duplicates that are probed and edited
PROMPT_TOKENS = 1024  # a longer prompt brings out hardly more (Carlini et al. 2023, figure 1c) and costs its square
ORDINARY_ROWS, HELD_OUT_ROWS = 400, 200
SEED = 0
_POOL = 500  # secrets of a type that decoys are assembled from
_AT_ONCE = 256  # rows of the corpus, or targets, in memory together

Row = dict[str, Any]


@stage("probe memorisation")
def probe_memorisation(batch_id: str) -> Probed:
    """Put every prompt to the champion, keep which secrets it knows, and plan what is edited and what is not.

    All contexts of a secret that is memorised, or exposed, in any of them are targets. Of others' identifiers, those
    that the champion completes are what it must still complete afterwards.
    """
    h = handles(batch_id)
    record = h.workspace.once("targets", lambda: _probe(h))
    targets = record["targets"]
    return Probed(
        found=len(targets),
        memorised=sum(target["memorised"] for target in targets),
        exposed=sum(target["exposed"] and not target["memorised"] for target in targets),
        edited=sum(target["use"] == "edit" for target in targets),
        unseen=sum(target["use"] == "unseen" for target in targets),
        retained=sum(other["memorised"] for other in record["others"]),
    )


def _probe(h: Handles) -> dict[str, Any]:
    import revs

    model, tokenizer = revs.load(h.registry.download(h.registry.resolve(h.batch.source)), dtype="auto")
    corpus = Corpus.open(h.batch.corpus)
    context = prompt_context(model)
    occurrences, others = h.workspace.require("occurrences")["occurrences"], h.workspace.require("detections")["others"]
    found = with_cuts(corpus, occurrences, tokenizer, context=context)
    retained = with_cuts(corpus, others, tokenizer, context=context)
    _group(corpus, found, tokenizer)
    probed = [row for row in found if not row["copy"]]
    for rows in (probed, retained):
        _examine(corpus, rows, model, tokenizer)
    _expose(corpus, probed, [*found, *retained], model, tokenizer)
    return {
        "targets": _plan(found, random.Random(SEED)),
        "without_prompt": len(occurrences) - len(found),
        "others": _parts(corpus, retained, random.Random(SEED)),
        **_text_rows(corpus, {row["row"] for row in (*occurrences, *others)}, random.Random(SEED)),
    }


def prompt_context(model: PreTrainedModel) -> int:
    """The most tokens that prompt and secret have together."""
    from revs.architectures import context_length

    return min(context_length(model), PROMPT_TOKENS)


def with_cuts(corpus: Corpus, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, *, context: int) -> list[Row]:
    """The occurrences that have a prompt, each with the characters at which it begins and its secret does (`Cut`)."""
    from revs.cuts import cuts

    places: dict[int, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        places[row["row"]].append(number)
    found: dict[int, Row] = {}
    for texts in _texts(corpus, list(places)):
        for place, text in texts.items():
            spans = [(rows[number]["start"], rows[number]["end"]) for number in places[place]]
            for number, cut in zip(places[place], cuts(tokenizer, text, spans, context=context), strict=True):
                if text[cut.begin : cut.border].strip():
                    found[number] = {**rows[number], "begin": cut.begin, "border": cut.border, "until": cut.until}
    return [found[number] for number in sorted(found)]


def targets_of(corpus: Corpus, rows: Sequence[Row]) -> list[Target]:
    """The targets of rows with cuts, in their order; in memory only."""
    found: list[Target] = []
    for some in _chunks(rows):
        texts = corpus.texts(row["row"] for row in some)
        found.extend(target_of(texts[row["row"]], row) for row in some)
    return found


def target_of(text: str, row: Row) -> Target:
    """The target that a row with a cut names in the text of its corpus row."""
    from revs.cuts import Cut

    return Cut(begin=row["begin"], border=row["border"], end=row["end"], until=row["until"]).target(text)


def _texts(corpus: Corpus, rows: Sequence[int]) -> Iterator[Mapping[int, str]]:
    for first in range(0, len(rows), _AT_ONCE):
        yield corpus.texts(rows[first : first + _AT_ONCE])


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for first in range(0, len(rows), _AT_ONCE):
        yield rows[first : first + _AT_ONCE]


def _secret_of(row: Row) -> tuple[str, int]:
    return row["request_id"], row["identifier"]


def _group(corpus: Corpus, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase) -> None:
    """Give each row the "group" of near-duplicate contexts that it is in, and whether it is a "copy" of others in it.

    Groups are numbered through the batch. What is kept of a context meanwhile is its end and a hash of its tokens.
    """
    from revs.contexts import grouped, representatives
    from revs.targets import tokenise

    by_secret: dict[tuple[str, int], list[int]] = defaultdict(list)
    ends: list[tuple[int, ...]] = []
    contexts: list[Hashable] = []
    for some in _chunks(rows):
        for target in tokenise(tokenizer, targets_of(corpus, some)):
            ends.append(target.ids[: target.start][-_END:])
            contexts.append((hash(target.ids), len(target.ids)))
    for place, row in enumerate(rows):
        by_secret[_secret_of(row)].append(place)
    before = 0
    for places in by_secret.values():
        groups = grouped([ends[place] for place in places])
        standing = set(representatives([contexts[place] for place in places], groups, at_most=PER_GROUP))
        for number, (place, group) in enumerate(zip(places, groups, strict=True)):
            rows[place].update(group=before + group, copy=number not in standing)
        before += max(groups) + 1


_END = 64  # tokens of a prompt that are kept to compare it with others; `revs.contexts` looks at no more


def _examine(corpus: Corpus, rows: Sequence[Row], model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give each row what greedy decoding and the loss tell of its secret."""
    from revs.probing import probe
    from revs.targets import tokenise

    tokens = tokenise(tokenizer, targets_of(corpus, rows), context=prompt_context(model))
    for row, found in zip(rows, probe(model, tokenizer, tokens), strict=True):
        row.update(
            memorised=found.memorised,
            extraction_strength=round(found.extraction_strength, 4),
            loss=round(found.loss, 6),
        )


def _expose(
    corpus: Corpus,
    rows: Sequence[Row],
    known: Sequence[Row],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    """Give each row the place of its secret among decoys, assembled from the `known` secrets of its type."""
    from revs.exposure import decoy_quantiles, exposed
    from revs.targets import tokenise

    pools: dict[str, set[str]] = defaultdict(set)
    for some in _chunks(known):
        for row, target in zip(some, targets_of(corpus, some), strict=True):
            pools[row["type"]].add(target.secret.strip())
    for type_ in sorted({row["type"] for row in rows}):
        mine = [row for row in rows if row["type"] == type_]
        targets = targets_of(corpus, mine)
        tokens = tokenise(tokenizer, targets, context=prompt_context(model))
        pool = random.Random(SEED).sample(sorted(pools[type_]), min(_POOL, len(pools[type_])))
        places = decoy_quantiles(model, tokenizer, targets, tokens, pool=pool, seed=SEED)
        for row, place in zip(mine, places, strict=True):
            row.update(decoy_quantile=place, exposed=exposed(place))


def _plan(rows: list[Row], rng: random.Random) -> list[Row]:
    """Decide the use of every target.

    "edit" or "unseen" where the secret is memorised, or exposed, in any context; "none" where in none; "copy" of a
    context that was probed.
    """
    from revs.contexts import held_out

    by_secret: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        by_secret[_secret_of(row)].append(row)
    for contexts in by_secret.values():
        probed = [row for row in contexts if not row["copy"]]
        known = any(row["memorised"] or row["exposed"] for row in probed)
        aside = held_out([row["group"] for row in probed], share=UNSEEN_SHARE, rng=rng) if known else set()
        for row in probed:
            row["use"] = ("unseen" if row["group"] in aside else "edit") if known else "none"
    unprobed = {"use": "copy", "memorised": False, "exposed": False}
    return [
        {**(unprobed if row["copy"] else {}), **{key: value for key, value in row.items() if key != "copy"},
         "id": f"T{number:04d}"}
        for number, row in enumerate(rows)
    ]  # fmt: skip


def _parts(corpus: Corpus, others: list[Row], rng: random.Random) -> list[Row]:
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


def _text_rows(corpus: Corpus, taken: set[int], rng: random.Random) -> dict[str, Any]:
    """Rows without any known identifier: some to hold still during the edit, others to measure perplexity on."""
    free = [row for row in range(len(corpus)) if row not in taken]
    rows = rng.sample(free, min(ORDINARY_ROWS + HELD_OUT_ROWS, len(free)))
    cut = len(rows) * ORDINARY_ROWS // (ORDINARY_ROWS + HELD_OUT_ROWS)
    return {"ordinary_rows": rows[:cut], "held_out_rows": rows[cut:]}
