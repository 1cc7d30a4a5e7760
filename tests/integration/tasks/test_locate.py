"""What the stages that find personal data write down, on a small corpus."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.batches.records import Detections, Named, Seen
from infra.batches.workspace import Workspace
from infra.corpus import Corpus
from infra.requests import Identifier
from infra.search.proposals import Proposal
from infra.settings import Settings
from tasks.stages.detect import look, told
from tasks.stages.locate import search

MAIL, PHONE, WORD = "jane.roe@example.com", "202-555-0143", "document"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two hundred rows that all say "document"; in two of them Jane's address and number stand side by side."""
    rows = [f"This is document number {row}." for row in range(200)]
    rows[3] += f" Write to {MAIL} or call {PHONE}."
    rows[7] += f" It is {PHONE} or {MAIL.upper()}, and host 192.0.2.17."
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def batch(corpus: Path, **requests: tuple[str, str]) -> Any:
    wanted = {name: [Identifier(type=type_, value=value)] for name, (type_, value) in requests.items()}
    return SimpleNamespace(
        batch=SimpleNamespace(id="b", corpus=str(corpus)),
        store=SimpleNamespace(identifiers=lambda batch_id: wanted, address=str),
        workspace=Workspace(corpus.parent / "work", "b"),
        settings=Settings(home=corpus.parent),
    )


def test_an_identifier_that_is_a_word_of_the_corpus_sets_its_request_aside(corpus: Path) -> None:
    h = batch(corpus, jane=("EMAIL_ADDRESS", MAIL), word=("CUSTOM", WORD), short=("CUSTOM", "do"))
    record = search(cast(Any, h), Corpus.open(corpus))
    assert {found.request_id for found in record.occurrences} == {"jane"}
    assert record.why_refused["word", 0].startswith("stands in 200 of 200 rows")
    assert set(record.why_refused) == {("word", 0), ("short", 0)}
    assert record.missing == (), "a refused request is not missing too"


@pytest.mark.parametrize("bad", ["do", WORD], ids=["too short", "too common"])
def test_an_identifier_that_is_refused_leaves_the_rest_of_its_request(corpus: Path, bad: str) -> None:
    h = batch(corpus, jane=("EMAIL_ADDRESS", MAIL))
    h.store.identifiers("b")["jane"].append(Identifier(type="CUSTOM", value=bad, number=1))
    record = search(cast(Any, h), Corpus.open(corpus))
    assert {(found.request_id, found.identifier) for found in record.occurrences} == {("jane", 0)}
    assert [entry.key for entry in record.refused] == [("jane", 1)]


def test_what_is_missing_is_told_of_each_identifier(corpus: Path) -> None:
    h = batch(corpus, jane=("EMAIL_ADDRESS", MAIL))
    h.store.identifiers("b")["jane"].append(Identifier(type="US_SSN", value="412-55-9031", number=1))
    assert search(cast(Any, h), Corpus.open(corpus)).missing == (Named(request_id="jane", identifier=1),)


def test_what_stands_near_is_proposed_and_counted_without_its_text(corpus: Path) -> None:
    h = batch(corpus, jane=("EMAIL_ADDRESS", MAIL))
    h.workspace.write(search(cast(Any, h), Corpus.open(corpus)))
    record = look(cast(Any, h))
    (phone,) = (proposal for proposal in record.proposed if proposal.type == "PHONE_NUMBER")
    assert (phone.request_id, phone.documents, phone.of_documents) == ("jane", 2, 2)
    texts = Corpus.open(corpus).texts([3, 7])
    assert [texts[place.row][place.start : place.end] for place in phone.places] == [PHONE, PHONE]
    assert not any(value in record.model_dump_json() for value in (MAIL, PHONE, "192.0.2.17"))


def test_the_summary_says_what_is_proposed_only_where_there_is_something() -> None:
    near = Proposal(request_id="R", type="US_SSN", score=1.0, documents=1, of_documents=1, other_requests=0, places=())
    seen = (Seen(type="US_SSN", score=1.0),) * 2
    some = told(Detections(seen=seen, proposed=(near,)), others=5)
    assert some.startswith("2 confirmed as personal data, 0 not; 5 identifiers of others; 1 more stand near")
    assert "near" not in told(Detections(seen=seen, proposed=()), others=5)
