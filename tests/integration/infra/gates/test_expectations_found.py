"""The suites over occurrences and targets: each rule is broken once, and no value gets to the library."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from infra.gates import expectations
from infra.gates.expectations import check_occurrences, check_targets
from revs.errors import BadInput, OperationFailed

SECRET = "219-41-5522"
PLACE: dict[str, Any] = {
    "id": "o1",
    "request_id": "r1",
    "identifier": 0,
    "type": "US_SSN",
    "row": 3,
    "start": 10,
    "end": 21,
    "agrees": True,
}
TARGET: dict[str, Any] = {
    "id": "t1",
    "secret": "r1/0",
    "has_prompt": True,
    "prompt_tokens": 20,
    "secret_tokens": 5,
    "memorised": True,
    "use": "edit",
}


def occurrences(*rows: dict[str, Any], **options: Any) -> dict[str, str]:
    return check_occurrences(rows, **({"requests": ["r1", "r2"], "corpus_rows": 10} | options))


def targets(*rows: dict[str, Any]) -> dict[str, str]:
    return check_targets(rows, context=32, edited={"edit"}, kept={"unseen", "retain"})


BROKEN_PLACES = [
    ({"request_id": "r9"}, "not one of the batch"),
    ({"request_id": None}, "not one of the batch"),
    ({"identifier": -1}, "number of the identifier"),
    ({"identifier": None}, "number of the identifier"),
    ({"type": "SHOE_SIZE"}, "type is not"),
    ({"type": SECRET}, "type is not"),
    ({"row": 10}, "not in the corpus"),
    ({"row": -1}, "not in the corpus"),
    ({"row": SECRET}, "not in the corpus"),
    ({"start": None}, "place in the row is missing"),
    ({"start": 21}, "ends before it begins"),
    ({"end": 4}, "ends before it begins"),
    ({"end": None}, "ends before it begins"),
]


@pytest.mark.parametrize(("change", "reason"), BROKEN_PLACES, ids=[str(row[0]) for row in BROKEN_PLACES])
def test_an_occurrence_that_breaks_a_rule_is_named_with_its_reason(change: dict[str, Any], reason: str) -> None:
    refused = occurrences(PLACE, PLACE | {"id": "o2", "start": 5} | change)
    assert list(refused) == ["o2"]
    assert reason in refused["o2"]
    assert SECRET not in str(refused)


def test_good_occurrences_pass_at_the_edges() -> None:
    rows = [PLACE | {"row": 0, "start": 0}, PLACE | {"id": "o2", "row": 9}, PLACE | {"id": "o3", "agrees": False}]
    rows.append(PLACE | {"id": "o4", "request_id": "r2"})
    rows[2]["row"] = 5
    assert occurrences(*rows) == {}
    assert occurrences() == {}


def test_a_place_that_is_given_twice_is_named_both_times() -> None:
    refused = occurrences(PLACE, PLACE | {"id": "o2"}, PLACE | {"id": "o3", "row": 4})
    assert set(refused) == {"o1", "o2"}
    assert "given twice" in refused["o1"]


def test_where_the_detector_agrees_at_too_few_the_others_are_named() -> None:
    rows = [PLACE | {"id": f"o{n}", "row": n, "agrees": n < 6} for n in range(10)]
    assert occurrences(*rows, least_agreement=0.6) == {}
    assert set(occurrences(*rows, least_agreement=0.7)) == {"o6", "o7", "o8", "o9"}


@pytest.mark.parametrize("options", [{"corpus_rows": 0}, {"least_agreement": 1.5}])
def test_bounds_that_cannot_be_meant_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        occurrences(PLACE, **options)


BROKEN_TARGETS = [
    ({"has_prompt": False}, "prompt is empty"),
    ({"has_prompt": None}, "prompt is empty"),
    ({"prompt_tokens": 0}, "prompt tokens is missing or 0"),
    ({"secret_tokens": None}, "secret tokens is missing or 0"),
    ({"prompt_tokens": 30}, "longer than the model's context"),
    ({"memorised": None}, "not known whether"),
    ({"use": "resell"}, "use is not one of"),
    ({"use": SECRET}, "use is not one of"),
    ({"secret": "r1/1", "use": "unseen"}, "no context of this memorised secret is edited"),
]


@pytest.mark.parametrize(("change", "reason"), BROKEN_TARGETS, ids=[str(row[0]) for row in BROKEN_TARGETS])
def test_a_target_that_breaks_a_rule_is_named_with_its_reason(change: dict[str, Any], reason: str) -> None:
    refused = targets(TARGET, TARGET | {"id": "t2"} | change)
    assert list(refused) == ["t2"]
    assert reason in refused["t2"]


def test_good_targets_pass_at_the_edges() -> None:
    assert (
        targets(
            TARGET | {"prompt_tokens": 27},
            TARGET | {"id": "t2", "use": "unseen"},
            TARGET | {"id": "t3", "secret": "r1/1", "memorised": False, "use": "unseen"},
            TARGET | {"id": "t4", "secret": "x/0", "use": "retain", "others": True},
        )
        == {}
    )


LEAKY_PLACE = dict.fromkeys(PLACE, SECRET) | {"id": "o1", "value": SECRET, "text": SECRET}
LEAKY_TARGET = dict.fromkeys(TARGET, SECRET) | {"id": "t1", "prompt": SECRET}


def test_the_library_never_sees_a_value_even_in_the_wrong_field(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    run = expectations.run_checkpoint

    def spy(suite: Any, rows: Any, **options: Any) -> Any:
        found = run(suite, rows, **options)
        seen.append(json.dumps([rows, found.describe_dict(), str(options)]))
        return found

    monkeypatch.setattr(expectations, "run_checkpoint", spy)
    with caplog.at_level(logging.DEBUG):
        refused = [occurrences(LEAKY_PLACE), targets(LEAKY_TARGET)]
    assert len(seen) == 2
    assert SECRET not in "".join(seen) + json.dumps(refused) + caplog.text
    assert all(refused)


def test_nothing_is_judged_if_the_library_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(expectations, "run_checkpoint", broken)
    for judge in (lambda: occurrences(PLACE), lambda: targets(TARGET)):
        with pytest.raises(OperationFailed) as failure:
            judge()
        assert SECRET not in str(failure.value)
        assert failure.value.__cause__ is None
