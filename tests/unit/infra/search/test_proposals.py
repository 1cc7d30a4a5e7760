from __future__ import annotations

from dataclasses import asdict

import pytest

from infra.detection import Finding
from infra.search.occurrences import Occurrence
from infra.search.proposals import Proposal, Spot, propose


class Words:
    """Finds every word of five small letters as an e-mail address, of five capitals as a phone number."""

    def find(self, text: str) -> list[Finding]:
        found, at = [], 0
        for word in text.split(" "):
            if len(word) == 5 and word.isalpha():
                type_ = "EMAIL_ADDRESS" if word.islower() else "PHONE_NUMBER"
                found.append(Finding(start=at, end=at + 5, type=type_, score=0.5 + 0.1 * (at == 0)))
            at += len(word) + 1
        return found


def stands(text: str, row: int, request_id: str = "r", value: str = "<id>") -> Occurrence:
    start = text.index(value)
    return Occurrence(request_id=request_id, identifier=0, type="CUSTOM", row=row, start=start, end=start + len(value))


def proposed(*texts: str, max_distance: int = 20) -> list[Proposal]:
    """What is proposed where `<id>` is the identifier of request r and `<di>` that of request s."""
    ids = {"<id>": "r", "<di>": "s"}
    found = [stands(t, row, ids[v], v) for row, t in enumerate(texts) for v in ids if v in t]
    return propose(found, dict(enumerate(texts)), Words(), max_distance=max_distance)


def test_what_stands_near_is_proposed_with_its_place_and_distance() -> None:
    (proposal,) = proposed("a <id> is at alpha now")
    assert proposal.places == (Spot(row=0, start=13, end=18, distance=7),)
    assert (proposal.request_id, proposal.type, proposal.score) == ("r", "EMAIL_ADDRESS", 0.5)
    assert (proposal.documents, proposal.of_documents, proposal.other_requests) == (1, 1, 0)


NONE = [
    ("a <id> and " + "x " * 20 + "alpha", "too far"),
    ("a <id> and nothing", "nothing there"),
]


@pytest.mark.parametrize(("text", "why"), NONE, ids=[row[1] for row in NONE])
def test_nothing_else_is_proposed(text: str, why: str) -> None:
    assert proposed(text) == []


def test_what_a_request_names_is_not_proposed() -> None:
    text = "alpha bravo"
    found = [stands(text, 0, value="alpha"), stands(text, 0, "s", "bravo")]
    assert propose(found, {0: text}, Words()) == []


def test_one_identifier_in_several_documents_is_one_proposal() -> None:
    (proposal,) = proposed("<id> alpha", "alpha <id>", "<id> none here", "<id> " + "x " * 30 + "alpha")
    assert [place.row for place in proposal.places] == [0, 1]
    assert (proposal.documents, proposal.of_documents) == (3, 4)


def test_what_stands_near_other_peoples_identifiers_says_so() -> None:
    mine, also = proposed("<id> alpha", "<di> alpha", "<di> none here")
    assert (mine.request_id, mine.other_requests, mine.of_documents) == ("r", 1, 1)
    assert (also.request_id, also.other_requests, also.of_documents) == ("s", 1, 2)
    assert "also near those of 1 other requests" in mine.reason


def test_of_one_place_near_two_people_each_gets_its_own_distance() -> None:
    mine, theirs = proposed("<id> alpha xx <di>")
    assert (mine.distance, theirs.distance) == (1, 4)


def test_the_nearest_stands_first_and_types_stay_apart() -> None:
    first, second = proposed("bravo xx <id> ALPHA")
    assert [(p.type, p.distance) for p in (first, second)] == [("PHONE_NUMBER", 1), ("EMAIL_ADDRESS", 4)]


def test_no_value_stands_in_a_proposal_or_its_reason() -> None:
    (proposal,) = proposed("<id> alpha")
    shown = f"{proposal} {proposal.reason} {asdict(proposal)}"
    assert "alpha" not in shown
    assert proposal.reason == (
        "EMAIL_ADDRESS 1 characters from an identifier of the request, in 1 of the person's 1 documents, "
        "near no one else's"
    )
