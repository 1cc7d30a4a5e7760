"""The twin's people: others in the same sentences, and nothing of those who ask to be erased."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from revs.development import Recipe, Record, build, invent_records, training
from revs.development.people import OTHER_TEMPLATES, TEMPLATES, in_other_templates, stand_ins

SHAPE: dict[str, Any] = {"contexts": 3, "types_per_person": 2, "seed": 4}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return invent_records(requesters=7, retained=5, one_off=9, **SHAPE)


def name_of(records: list[Record], person: int) -> str:
    """The two words that all sentences of a person share."""
    sentences = [re.sub(r"[,<>:]", " ", r.text.replace(r.value, "")).split() for r in records if r.person == person]
    (name,) = set.intersection(*({f"{a} {b}" for a, b in pairwise(words)} for words in sentences))
    return name


def test_a_stand_in_fills_the_sentences_of_a_requester_one_for_one(records: list[Record]) -> None:
    asked = [record for record in records if record.kind == "requester"]
    found = stand_ins(records, **SHAPE)
    assert [(one.person, one.type) for one in found] == [(one.person, one.type) for one in asked]
    for mine, theirs in zip(found, asked, strict=True):
        assert mine.text[mine.end :] == theirs.text[theirs.end :] != ""
        assert mine.value != theirs.value
    frames = [
        {record.text.replace(record.value, "{}").replace(name_of(some, record.person), "{}") for record in some}
        for some in (found, asked)
    ]
    assert frames[0] == frames[1], "the frames are the same, whoever stands in them"


def test_no_stand_in_has_a_name_or_an_identifier_of_anybody_else(records: list[Record]) -> None:
    found = stand_ins(records, **SHAPE)
    everything = " ".join(record.text for record in records)
    for record in found:
        assert record.value not in everything
        assert name_of(found, record.person) not in everything


def test_stand_ins_come_again_with_the_seed_and_are_others_with_another(records: list[Record]) -> None:
    once, again = (stand_ins(records, **SHAPE) for _ in range(2))
    assert once == again
    values = {record.value for record in stand_ins(records, **{**SHAPE, "seed": 5})}
    assert not values & {record.value for record in once}


def test_who_is_drawn_twice_is_drawn_anew(records: list[Record]) -> None:
    """The first draw holds somebody whom the records already name."""
    first = stand_ins(records, **SHAPE)
    second = stand_ins([*records, first[0]], **SHAPE)
    assert first[0].value not in {record.value for record in second}


def test_records_in_other_templates_share_no_identifier_and_no_sentence_with_the_corpus(records: list[Record]) -> None:
    found = in_other_templates(records, count=30, seed=4)
    assert len(found) == 30 and {record.type for record in found} == set(TEMPLATES)
    everything = " ".join(record.text for record in records)
    openings = {template.split("{")[0] for templates in TEMPLATES.values() for template in templates} - {""}
    for record in found:
        assert record.text[record.start : record.end] == record.value not in everything
        assert not record.text.startswith(tuple(openings))
    known = {tuple(template.split()) for templates in TEMPLATES.values() for template in templates}
    for other in (words.split() for templates in OTHER_TEMPLATES.values() for words in templates):
        for words in known:
            shared = set(other) & set(words) - {"{name}", "{value}"}
            assert len(shared) <= len(other) / 2, "another sentence, not another version of the same"
    again = in_other_templates([*records, found[0]], count=30, seed=4)
    assert again == found[1:], "who is in the corpus is left out"


def test_the_twin_is_trained_on_as_many_people_but_on_none_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def train(_recipe: Recipe, _tokenizer: Any, *, people: list[str], **_: Any) -> None:
        seen.append(people)

    monkeypatch.setattr(training, "train", train)
    monkeypatch.setattr("revs.development.model.ordinary_text", lambda *_: (["a plain sentence"] * 40, []))
    monkeypatch.setattr("revs.development.model.save", lambda *_: None)
    recipe = Recipe(requesters=6, retained=4, one_off=3, vocab_size=300)
    model, twin = (build(each, tmp_path) for each in (recipe, recipe.never_trained()))
    assert len(seen[0]) == len(seen[1]) == 10 * recipe.contexts
    asked = {record.text for record in model.records if record.kind == "requester"}
    kept = {record.text for record in model.records if record.kind == "retained"}
    assert asked <= set(seen[0]) and not asked & set(seen[1])
    assert kept == set(seen[0]) - asked == set(seen[0]) & set(seen[1])
    assert twin.records == model.records, "the twin is asked for the same secrets"
    assert twin.digest != model.digest
