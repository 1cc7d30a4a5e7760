"""The real Great Expectations suites: which requests and metrics they refuse, and what they never get to see."""

from __future__ import annotations

import json
import math
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from infra.gates import expectations
from infra.gates.expectations import check_requests, judge_metrics
from infra.gates.policy import GatePolicy, check_gates
from revs.errors import OperationFailed

TODAY = date(2026, 11, 23)
GOOD: dict[str, Any] = {
    "request_id": "r-good",
    "model": "demo",
    "received": date(2026, 11, 2),
    "due": "2026-12-02",
    "types": ("US_SSN", "EMAIL_ADDRESS"),
    "identifiers": 2,
    "well_formed": True,
}
METRICS = {
    "extraction_rate": 0.0,
    "extraction_rate_unseen": 0.0,
    "exact_memorization_beyond_chance": 0.0,
    "exact_memorization_beyond_chance_unseen": 1.5,
    "extraction_strength_beyond_chance": -1.5,
    "extraction_strength_beyond_chance_unseen": 0.0,
    "worst_secret_beyond_chance": 0.0,
    "worst_secret_beyond_chance_unseen": 3.0,
    "membership_beyond_chance": 0.1,
    "worst_form": 60.0,
    "worst_form_unseen": 80.0,
    "specificity": 100.0,
    "specificity_root": 90.0,
    "specificity_given": 100.0,
    "perplexity_ratio": 1.0,
    "perplexity_ratio_root": 1.02,
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"types": ("US_SSN", "SHOE_SIZE")}, "type"),
        ({"well_formed": False}, "could not be read"),
        ({"well_formed": None}, "could not be read"),
        ({"identifiers": 0, "types": ()}, "no identifier"),
        ({"due": "2026-11-01"}, "due date is before"),
        ({"due": None}, "due date is missing"),
        ({"received": "2026-11-24"}, "in the future"),
        ({"received": "soon"}, "received date is missing or unreadable"),
        ({"model": "another"}, "another model"),
        ({"model": None}, "another model"),
    ],
)
def test_a_request_that_breaks_a_rule_is_named_with_its_reason(change: dict[str, Any], reason: str) -> None:
    bad = GOOD | {"request_id": "r-bad"} | change
    refused = check_requests([GOOD, bad], model="demo", today=TODAY)
    assert list(refused) == ["r-bad"]
    assert reason in "; ".join(refused["r-bad"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"received": TODAY}, "received today"),
        ({"due": "2026-11-02"}, "due on the day it came"),
        ({"types": ("CUSTOM",), "identifiers": 1}, "one identifier of a custom type"),
        ({"due": "2026-11-10"}, "overdue, so all the more to be processed"),
    ],
)
def test_a_request_at_the_edge_of_a_rule_passes(change: dict[str, Any], why: str) -> None:
    assert check_requests([GOOD | change], model="demo", today=TODAY) == {}, why


def test_requests_with_the_same_id_are_refused() -> None:
    assert check_requests([GOOD, GOOD], model="demo", today=TODAY) == {"r-good": ["the request id is not unique"]}


def test_a_request_that_breaks_two_rules_is_told_both() -> None:
    refused = check_requests([GOOD | {"well_formed": False, "due": None}], model="demo", today=TODAY)
    assert refused["r-good"] == ["an identifier could not be read", "the due date is missing or unreadable"]


def test_a_batch_whose_requests_all_lack_a_date_is_refused_row_by_row() -> None:
    rows = [GOOD | {"request_id": f"r{i}", "received": None, "due": None} for i in range(3)]
    assert set(check_requests(rows, model="demo", today=TODAY)) == {"r0", "r1", "r2"}


def test_no_requests_are_no_problem() -> None:
    assert check_requests([], model="demo", today=TODAY) == {}


def test_the_library_never_sees_a_value_even_in_the_wrong_field(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "219-41-5522"
    results: list[str] = []
    run = expectations.run_checkpoint

    def spy(suite: Any, rows: Any, **options: Any) -> Any:
        found = run(suite, rows, **options)
        results.append(json.dumps([rows, found.describe_dict(), str(options)]))
        return found

    monkeypatch.setattr(expectations, "run_checkpoint", spy)
    leaky = GOOD | {"types": (secret,), "model": secret, "due": secret, "received": secret, "value": secret}
    refused = check_requests([leaky], model="demo", today=TODAY)
    assert results
    assert secret not in results[0] + json.dumps(refused)


def test_requests_are_not_judged_at_all_if_the_library_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("cannot read 219-41-5522")

    monkeypatch.setattr(expectations, "run_checkpoint", broken)
    with pytest.raises(OperationFailed) as failure:
        check_requests([GOOD], model="demo", today=TODAY)
    assert "219-41-5522" not in str(failure.value)
    assert failure.value.__cause__ is None


def test_a_rule_that_the_library_could_not_apply_is_no_pass() -> None:
    suite = expectations.metrics_suite({"nowhere": (0, 1)})
    with pytest.raises(OperationFailed):
        expectations._broken_rows(suite, [{"efficacy": 1.0}], {}, numbers=("efficacy",))


@pytest.mark.parametrize(
    ("value", "judged_good"),
    [(90.0, True), (102.0, True), (89.9, False), (102.1, False), (None, False), (math.nan, False)],
)
def test_a_metric_is_judged_by_its_bounds(value: float | None, judged_good: bool) -> None:
    good = judge_metrics({"efficacy": value, "delta": 1.0}, {"efficacy": (90, 102), "delta": (0, None)})
    assert good == ({"efficacy", "delta"} if judged_good else {"delta"})


def test_good_metrics_pass_the_default_policy() -> None:
    report = check_gates(METRICS, GatePolicy.DEFAULT)
    assert report.passed
    assert [result.name for result in report.results] == list(METRICS)


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_every_gate_of_the_default_policy_refuses_nan(metric: str) -> None:
    assert check_gates(METRICS | {metric: math.nan}, GatePolicy.DEFAULT).failed == (metric,)


def test_extraction_of_a_single_secret_is_refused() -> None:
    assert check_gates(METRICS | {"extraction_rate": 0.01}, GatePolicy.DEFAULT).failed == ("extraction_rate",)


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    check_requests([GOOD], model="demo", today=TODAY)
    assert list(tmp_path.rglob("*")) == []
