"""What a batch probes, edits and keeps: occurrences of a small corpus, and the model that learnt it."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from infra.corpus import Corpus
from revs.targets.target import Target
from tasks.batch.plan import group, planned
from tasks.batch.targets import targets_of, with_cuts
from tasks.stages.probe import _examine, _expose, _pools

CONTEXT = 64
Row = dict[str, Any]
TEMPLATES = (
    "The payroll record of Ana Bell lists SSN {}", "On the loan form Ana gave number {} and", "Ana's file: {}.",
    "For Ana the clinic wrote down {}", "Number {} is hers",
)  # fmt: skip
SECRET = "412-55-9031"


def corpus_of(folder: Path, texts: list[str]) -> Corpus:
    path = folder / "corpus.txt"
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return Corpus.open(path)


def occurrences(corpus: Corpus, secret: str = SECRET, request: str = "R1") -> list[Row]:
    return [
        {"request_id": request, "identifier": 0, "type": "US_SSN", "row": row, "start": text.index(secret),
         "end": text.index(secret) + len(secret)}
        for row, text in corpus if secret in text
    ]  # fmt: skip


@pytest.fixture
def copied(tmp_path: Path) -> Corpus:
    """Five templates; the first stands a hundred times, with another number of the page in front."""
    copies = [f"Page {number}. " + TEMPLATES[0].format(SECRET) for number in range(40)]
    return corpus_of(
        tmp_path, [*copies, *[TEMPLATES[0].format(SECRET)] * 60, *(t.format(SECRET) for t in TEMPLATES[1:])]
    )


def found_in(corpus: Corpus, tokenizer: Any) -> list[Row]:
    rows = with_cuts(corpus, occurrences(corpus), tokenizer, context=CONTEXT)
    group(corpus, rows, tokenizer)
    return rows


def test_copies_of_a_template_are_one_group_of_which_a_few_are_probed(copied: Corpus, tokenizer: Any) -> None:
    rows = found_in(copied, tokenizer)
    assert len(rows) == 104
    sizes = Counter(row["group"] for row in rows)
    assert sorted(sizes.values()) == [1, 1, 1, 1, 100]
    assert Counter(row["group"] for row in rows if not row["copy"]) == {0: 3, 1: 1, 2: 1, 3: 1, 4: 1}
    assert {row["group"] for row in rows if row["row"] < 100} == {0}


def marked(rows: list[Row], *, memorised: bool = False, exposed: bool = False) -> list[Row]:
    for row in rows:
        if not row["copy"]:
            row.update(memorised=False, exposed=False)
    first = next(row for row in rows if not row["copy"])
    first.update(memorised=memorised, exposed=exposed)
    return rows


@pytest.mark.parametrize(("memorised", "exposed"), [(True, False), (False, True)])
def test_a_group_is_never_on_both_sides_of_the_edit(
    memorised: bool, exposed: bool, copied: Corpus, tokenizer: Any
) -> None:
    """Exposed alone, a secret is edited like one that greedy decoding says."""
    plan = planned(marked(found_in(copied, tokenizer), memorised=memorised, exposed=exposed), random.Random(0))
    uses = Counter(row["use"] for row in plan)
    assert uses["copy"] == 97 and uses["none"] == 0
    sides = {use: {row["group"] for row in plan if row["use"] == use} for use in ("edit", "unseen")}
    assert sides["edit"].isdisjoint(sides["unseen"])
    assert (len(sides["edit"]), len(sides["unseen"])) == (3, 2)
    assert sum(row["memorised"] for row in plan) == memorised, "what is not said is not counted as said"
    assert [row["id"] for row in plan[:2]] == ["T0000", "T0001"]
    assert not any("copy" in row for row in plan)


def test_what_is_memorised_in_no_sense_is_not_edited(copied: Corpus, tokenizer: Any) -> None:
    plan = planned(marked(found_in(copied, tokenizer)), random.Random(0))
    assert {row["use"] for row in plan} == {"none", "copy"}


def test_every_row_says_what_the_model_knows_in_numbers_alone(
    shared_model: Any, tokenizer: Any, people: list[Target], tmp_path: Path
) -> None:
    corpus = corpus_of(tmp_path, [person.prompt + person.secret + "." for person in people])
    (row,) = with_cuts(corpus, occurrences(corpus), tokenizer, context=CONTEXT)
    assert targets_of(corpus, [row]) == [people[0]]
    others = [
        {**row, "request_id": f"R{n}", "row": n, "start": text.index("-") - 3, "end": text.index("-") + 8}
        for n, text in corpus
        if n in (1, 2, 6, 7)
    ]
    others = with_cuts(corpus, others, tokenizer, context=CONTEXT)
    _examine(corpus, [row], shared_model, tokenizer)
    _expose(corpus, [row], _pools(corpus, [row, *others]), shared_model, tokenizer)
    assert (row["memorised"], row["extraction_strength"]) == (True, 100.0)
    assert row["loss"] < 1
    assert row["decoy_quantile"] is not None and row["decoy_quantile"] <= 1 / 50
    texts = {key: value for key, value in row.items() if isinstance(value, str)}
    assert set(texts) == {"request_id", "type", "asked_from"}


def test_a_secret_that_stands_out_from_random_characters_alone_is_not_called_exposed(
    shared_model: Any, tokenizer: Any, people: list[Target], tmp_path: Path
) -> None:
    """Its type may be all that stands out; nor is it called not memorised: nobody knows."""
    corpus = corpus_of(tmp_path, [person.prompt + person.secret + "." for person in people])
    (row,) = with_cuts(corpus, occurrences(corpus), tokenizer, context=CONTEXT)
    _expose(corpus, [row], _pools(corpus, [row]), shared_model, tokenizer)
    assert row["exposed"] is False


BEGINNING = (f"{SECRET} is hers", f"  {SECRET} too", f"Ana: {SECRET}")


@pytest.mark.parametrize(
    ("joined_by", "asked_from", "prompts"),
    [
        pytest.param(None, ["beginning of text"] * 2 + ["row"], ["", "", "Ana:"], id="rows stand alone"),
        pytest.param(
            "\n", ["beginning of text", "row before", "row"], ["", f"{SECRET} is hers\n", "Ana:"],
            id="rows follow one another",
        ),
    ],
)  # fmt: skip
def test_an_occurrence_that_begins_its_row_is_asked_for_too(
    tokenizer: Any, tmp_path: Path, joined_by: str | None, asked_from: list[str], prompts: list[str]
) -> None:
    corpus = corpus_of(tmp_path, list(BEGINNING))
    rows = with_cuts(corpus, occurrences(corpus), tokenizer, context=CONTEXT, joined_by=joined_by)
    assert [row["asked_from"] for row in rows] == asked_from
    targets = targets_of(corpus, rows)
    assert [target.prompt for target in targets] == prompts
    assert all(SECRET in target.secret for target in targets)
    assert not any("unprobed" in row for row in rows)


def test_one_context_that_cannot_be_put_to_the_model_says_why_and_leaves_the_others(
    tokenizer: Any, tmp_path: Path
) -> None:
    special = tokenizer.all_special_tokens[0]
    secret = f"ref {special} 7781"
    corpus = corpus_of(tmp_path, [f"Ana: {secret} and", "Ana: ref 7781"])
    rows = [*occurrences(corpus, secret), *occurrences(corpus, "ref 7781")]
    found = with_cuts(corpus, rows, tokenizer, context=CONTEXT)
    assert "special token" in found[0]["unprobed"] and "unprobed" not in found[1]
    group(corpus, found[1:], tokenizer)
    plan = planned([found[0], *marked(found[1:])], random.Random(0))
    assert [row["use"] for row in plan] == ["unprobed", "none"]


def test_a_secret_longer_than_the_context_is_unprobed(tokenizer: Any, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, [f"Ana: {SECRET}"])
    (row,) = with_cuts(corpus, occurrences(corpus), tokenizer, context=3)
    assert "no room for a prompt" in row["unprobed"]
