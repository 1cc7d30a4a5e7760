"""The data sets: identifiers stand where a row says, nobody in them exists, and a seed means one set of rows."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from revs.development.data import DATASETS, Card
from revs.development.data.base import COLUMNS, Data
from revs.errors import BadInput

INVENTED = ("ssn-sentences", "emails-in-web-text", "urls-in-web-text")
# What an identifier looks like, and what keeps it from being somebody's.
SHAPES = {
    "US_SSN": re.compile(r"\b(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}\b"),
    "EMAIL_ADDRESS": re.compile(r"[a-z0-9]+@example\.(?:com|org|net)\b"),
    "URL": re.compile(r"https://example\.(?:com|org|net)/[a-z0-9~/]+"),
}
ANY_HOST = re.compile(r"(?:@|//)([\w.-]*\w)")


@pytest.fixture(scope="module")
def invented() -> dict[str, Data]:
    return {name: DATASETS[name](seed=3) for name in INVENTED}


def test_the_list_names_every_data_set() -> None:
    assert set(DATASETS) == {*INVENTED, "docstrings", "wiki-10k", "jsonl"}


@pytest.mark.parametrize("name", INVENTED)
def test_every_identifier_stands_exactly_where_its_row_says_and_nowhere_else(
    invented: dict[str, Data], name: str
) -> None:
    values: dict[int, set[str]] = defaultdict(set)
    for row in invented[name].rows:
        value = row["text"][row["start"] : row["end"]]
        assert SHAPES[row["type"]].fullmatch(value)
        assert [(m.start(), m.end()) for m in SHAPES[row["type"]].finditer(row["text"])] == [(row["start"], row["end"])]
        assert "{" not in row["text"], "a template was not filled"
        values[row["person"]].add(value)
    assert {len(found) for found in values.values()} == {1}, "a person has one identifier"
    assert len(set.union(*values.values())) == len(values), "two people never share one"


@pytest.mark.parametrize("name", INVENTED)
def test_the_rows_do_not_hang_on_the_day_they_are_drawn(
    invented: dict[str, Data], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a model that was taught them would not be found in the cache again, and a batch cut off not be resumed."""
    import datetime

    from faker.providers import date_time

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Later:
            return cls(2040, 5, 17, 3, 4, 5, tzinfo=tz)

    monkeypatch.setattr(date_time, "datetime", Later)
    assert DATASETS[name](seed=3).rows == invented[name].rows


@pytest.mark.parametrize("name", INVENTED)
def test_forty_people_stand_in_five_different_contexts_and_five_domains(invented: dict[str, Data], name: str) -> None:
    rows = invented[name].rows
    assert len(rows) == 200
    texts, domains = defaultdict(set), defaultdict(set)
    for row in rows:
        assert tuple(row) == COLUMNS
        texts[row["person"]].add(row["text"])
        domains[row["person"]].add(row["domain"])
    assert {len(found) for found in texts.values()} == {5}
    assert {len(found) for found in domains.values()} == {5}
    assert len(texts) == 40


def test_the_domains_of_the_social_security_numbers_are_the_five(invented: dict[str, Data]) -> None:
    counts = Counter(row["domain"] for row in invented["ssn-sentences"].rows)
    assert counts == {"employment": 40, "tax": 40, "finance": 40, "government": 40, "medical": 40}


@pytest.mark.parametrize("name", INVENTED)
def test_a_larger_set_has_more_people_and_more_contexts_all_distinct(name: str) -> None:
    rows = DATASETS[name](people=150, contexts=20, seed=0).rows
    texts = [row["text"].replace(row["text"][row["start"] : row["end"]], "") for row in rows]
    assert len(set(texts)) == len(texts) == 3000
    assert len({row["text"][row["start"] : row["end"]] for row in rows}) == 150


@pytest.mark.parametrize("name", INVENTED[1:])
def test_every_host_is_reserved_for_documentation(invented: dict[str, Data], name: str) -> None:
    hosts = {host for row in invented[name].rows for host in ANY_HOST.findall(row["text"])}
    assert hosts == {"example.com", "example.org", "example.net"}


@pytest.mark.parametrize("name", INVENTED)
def test_a_seed_means_one_set_of_rows(name: str) -> None:
    small: dict[str, Any] = {"people": 6, "contexts": 2}
    once, again, other = (DATASETS[name](seed=seed, **small) for seed in (5, 5, 6))
    assert once.digest == again.digest != other.digest
    assert once.digest.startswith("sha256:") and len(once.digest) == 71


def test_the_digest_does_not_depend_on_the_order_of_columns_but_on_that_of_rows() -> None:
    card = Card(name="x", what="", source="", licence="", size=2, columns=("text",), invented="")
    rows: tuple[dict[str, Any], ...] = ({"text": "é", "n": 1}, {"text": "b", "n": 2})
    swapped = tuple(dict(reversed(row.items())) for row in rows)
    assert Data(card=card, rows=rows).digest == Data(card=card, rows=swapped).digest
    assert Data(card=card, rows=rows).digest != Data(card=card, rows=rows[::-1]).digest


@pytest.mark.parametrize("name", INVENTED)
def test_the_card_and_the_dataset_say_what_the_rows_are(invented: dict[str, Data], name: str) -> None:
    data = invented[name]
    assert (data.card.name, data.card.size, data.card.seed, data.card.fallback) == (name, 200, 3, False)
    assert all((data.card.what, data.card.source, data.card.licence, data.card.invented))
    dataset = data.dataset()
    assert tuple(dataset.column_names) == data.card.columns == COLUMNS
    assert dataset[7] == data.rows[7]
    assert data.rows[0]["text"] not in repr(data)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"people": 0}, "people 0 is below 1"),
        ({"contexts": 0}, "contexts 0 is outside 1 … 25"),
        ({"contexts": 26}, "contexts 26 is outside 1 … 25"),  # a person would stand in one template twice
    ],
)
def test_what_cannot_be_invented_is_refused(options: dict[str, int], complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        DATASETS["ssn-sentences"](**options)


def test_docstrings_are_english_and_hold_no_identifier() -> None:
    data = DATASETS["docstrings"](rows=30)
    assert data.card.size == len(data.rows) == 30
    assert data.card.invented == "not invented"
    for row in data.rows:
        assert len(re.findall(r"\b(?:the|a|an|of|to|is|in|and|for|be|if|or)\b", row["text"].lower())) >= 1
        assert not any(shape.search(row["text"]) for shape in SHAPES.values())


def test_where_the_hub_cannot_be_reached_docstrings_stand_in_and_the_card_says_so() -> None:
    data = DATASETS["wiki-10k"](fallback_rows=12)  # HF_HUB_OFFLINE is set for all tests
    assert data.card.fallback
    assert data.card.name == "wiki-10k" and "Not Wikipedia" in data.card.what and "Offline" in data.card.what
    assert data.card.source.startswith("installed packages")
    assert data.rows == DATASETS["docstrings"](rows=12).rows


def test_what_the_hub_gives_is_taken_up_to_the_number_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    articles = datasets.Dataset.from_dict({"title": ["a", "b", "c"], "text": ["A.", "B.", "C."]})
    monkeypatch.setattr(datasets, "load_dataset", lambda hub_id, split: articles)
    data = DATASETS["wiki-10k"](rows=2)
    assert (data.rows, data.card.fallback) == (({"text": "A."}, {"text": "B."}), False)
    monkeypatch.setattr(datasets, "load_dataset", lambda hub_id, split: articles.remove_columns("text"))
    with pytest.raises(BadInput, match="has no column 'text'"):
        DATASETS["wiki-10k"]()


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_file_is_read_with_its_text_column_and_what_else_was_asked_for(tmp_path: Path) -> None:
    path = write(
        tmp_path / "pile.jsonl",
        json.dumps({"body": "first", "meta": {"pile_set_name": "Enron Emails"}, "n": 1}),
        "",
        json.dumps({"body": "second"}),
    )
    data = DATASETS["jsonl"](path, text="body", meta=("meta",))
    assert data.rows == ({"text": "first", "meta": {"pile_set_name": "Enron Emails"}}, {"text": "second", "meta": None})
    assert data.card.columns == ("text", "meta")
    assert DATASETS["jsonl"](path, text="body", rows=1).rows == ({"text": "first"},)
    assert data.dataset()["text"][:] == ["first", "second"]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (['{"text": "a"}', '{"text": "secret'], "line 2 is broken JSON"),
        (['{"text": "a"}', "", '["secret"]'], "line 3 is no JSON object"),  # empty lines count in the number
        (['{"body": "secret"}'], "line 1 has no text in column 'text'"),
        (['{"text": null}'], "line 1 has no text in column 'text'"),
        ([""], "has no lines"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line_without_its_content(
    tmp_path: Path, lines: list[str], complaint: str
) -> None:
    with pytest.raises(BadInput, match=complaint) as caught:
        DATASETS["jsonl"](write(tmp_path / "mails.jsonl", *lines))
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_missing_file_and_one_of_another_encoding_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is no file"):
        DATASETS["jsonl"](tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes('{"text": "é"}'.encode("latin-1"))
    with pytest.raises(BadInput, match="is not UTF-8"):
        DATASETS["jsonl"](tmp_path / "latin.jsonl")
