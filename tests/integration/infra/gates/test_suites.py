"""The suites are files that Great Expectations reads, and what a checkpoint found can be kept without a value."""

from __future__ import annotations

import json
import tomllib
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from infra.gates import expectations
from infra.gates.checkpoint import SUITES, checkpoint_summary, library, load_suite, run_checkpoint
from infra.gates.expectations import RECEIVED_LATER, check_occurrences, check_requests, check_targets
from revs.errors import OperationFailed

ROOT = Path(__file__).parents[4]
GIVEN = {
    "requests": {"models", "type_list", "latest_day"},
    "occurrences": {"types", "last_row", "least_agreement"},
    "targets": {"context", "uses"},
}
ODD = 771_234_567  # a number that stands nowhere but in the rows


def rules(name: str) -> list[str]:
    return [expectation["meta"]["rule"] for expectation in load_suite(name)["expectations"]]


def parameters(name: str) -> set[str]:
    kwargs = [value for expectation in load_suite(name)["expectations"] for value in expectation["kwargs"].values()]
    return {value["$PARAMETER"] for value in kwargs if isinstance(value, dict)}


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_is_in_the_format_of_the_library_and_every_rule_has_its_reason(name: str) -> None:
    suite = load_suite(name)
    read = library().ExpectationSuite(**load_suite(name)).to_json_dict()
    assert suite["name"] == name
    assert [{key: entry[key] for key in ("type", "kwargs", "meta")} for entry in read["expectations"]] == suite[
        "expectations"
    ]
    assert len(set(rules(name))) == len(suite["expectations"])
    assert all(rules(name))


@pytest.mark.parametrize("name", SUITES)
def test_every_parameter_of_a_suite_is_explained_and_given(name: str) -> None:
    assert parameters(name) == set(load_suite(name)["meta"]["parameters"]) == GIVEN[name]


@pytest.mark.parametrize("name", SUITES)
def test_a_wheel_has_the_file_of_a_suite(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    assert any(ROOT / "infra/gates/suites" / f"{name}.json" in (ROOT / "infra/gates").glob(p) for p in patterns)


def test_the_reason_that_a_stage_asks_for_is_a_rule() -> None:
    assert RECEIVED_LATER in rules("requests")


@pytest.mark.parametrize("left_out", [None, "context", "uses"])
def test_a_suite_of_which_a_parameter_is_not_given_judges_nothing(left_out: str | None) -> None:
    row = {"has_prompt": True, "memorised_known": True, "use": "edit", "uncovered": False}
    row |= {"prompt_tokens": 2, "secret_tokens": 2, "tokens": 4}
    given = {name: value for name, value in {"context": 32, "uses": ["edit"]}.items() if name != left_out}
    expected = nullcontext() if left_out is None else pytest.raises(OperationFailed)
    with expected:
        assert expectations._broken_rows(load_suite("targets"), [row], given, numbers=("tokens",)) == {}


def test_a_rule_that_is_added_as_the_docs_say_gives_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/gates.md").read_text(encoding="utf-8")
    added = json.loads(page.partition("```json")[2].partition("```")[0])
    suite = load_suite("requests")
    suite["expectations"].append(added)
    monkeypatch.setattr(expectations, "load_suite", lambda _: suite)
    request = {"request_id": "r1", "model": "m", "received": "2026-11-02", "due": "2026-12-02", "types": ["US_SSN"]}
    rows = [request | {"well_formed": True, "identifiers": 50}]
    rows.append(rows[0] | {"request_id": "r2", "identifiers": 51})
    assert check_requests(rows, model="m", today=date(2026, 11, 23)) == {"r2": [added["meta"]["rule"]]}


def test_a_rule_that_fails_without_naming_a_row_judges_nothing() -> None:
    entry = {"type": "expect_column_max_to_be_between", "kwargs": {"column": "n", "max_value": 1}}
    suite = {"name": "small", "expectations": [entry | {"meta": {"rule": "too many"}}]}
    assert expectations._broken_rows(suite, [{"n": 1.0}], {}, numbers=("n",)) == {}
    with pytest.raises(OperationFailed, match="unjudged"):
        expectations._broken_rows(suite, [{"n": 2.0}], {}, numbers=("n",))


def test_two_rules_with_one_reason_judge_nothing() -> None:
    entry = {"type": "expect_column_values_to_be_between", "meta": {"rule": "too many"}}
    twice = [entry | {"kwargs": {"column": "n", "max_value": bound}} for bound in (1, 2)]
    with pytest.raises(OperationFailed, match="unjudged"):
        expectations._broken_rows({"name": "small", "expectations": twice}, [{"n": 1.0}], {}, numbers=("n",))


def test_a_suite_that_is_not_there_is_told_with_a_remedy() -> None:
    with pytest.raises(OperationFailed, match="install again"):
        load_suite("nowhere")


def occurrence(**change: Any) -> dict[str, Any]:
    place = {"id": "o1", "request_id": "r1", "identifier": 0, "type": "US_SSN", "row": 3, "start": 10, "end": 21}
    return place | {"agrees": True} | change


def test_the_record_of_a_checkpoint_counts_rows_and_holds_no_value() -> None:
    kept: list[dict[str, Any]] = []
    rows = [occurrence(row=ODD, start=ODD, end=ODD), occurrence(id="o2"), occurrence(id="o3", start=4, agrees=False)]
    refused = check_occurrences(rows, requests=["r1"], corpus_rows=10, least_agreement=0.5, record=kept.append)
    assert set(refused) == {"o1"}
    (found,) = kept
    assert found == json.loads(json.dumps(found))
    assert str(ODD) not in json.dumps(found)
    assert (found["suite"], found["success"]) == ("occurrences", False)
    assert [rule["rule"] for rule in found["rules"]] == rules("occurrences")
    counts = {rule["rule"]: (rule["success"], rule["rows"], rule["broken"]) for rule in found["rules"]}
    assert counts["the row is not in the corpus"] == (False, 3, 1)
    assert counts["the place ends before it begins"] == (False, 3, 1)
    assert counts["the detector agrees at too few occurrences, and not here"] == (True, 3, 1)
    assert counts["the request is not one of the batch"] == (True, 3, 0)


def test_no_value_of_any_suite_is_in_its_record() -> None:
    kept: list[dict[str, Any]] = []
    secret = "219-41-5522"
    request = dict.fromkeys(("request_id", "model", "received", "due", "types"), secret) | {"identifiers": ODD}
    check_requests([request], model="the-model", today=date(2026, 11, 23), record=kept.append)
    target = dict.fromkeys(("id", "secret", "use"), secret) | {"prompt_tokens": ODD}
    check_targets([target], context=32, edited={"edit"}, kept={"retain"}, record=kept.append)
    text = json.dumps(kept)
    assert [found["suite"] for found in kept] == ["requests", "targets"]
    assert not any(value in text for value in (secret, str(ODD), "the-model", "retain"))


def test_where_there_was_no_row_the_record_says_that_no_rule_was_asked() -> None:
    kept: list[dict[str, Any]] = []
    assert check_targets([], context=32, edited={"edit"}, kept=set(), record=kept.append) == {}
    assert kept == [{"suite": "targets", "success": True, "rules": []}]


def test_a_summary_is_of_the_result_alone() -> None:
    suite = {
        "name": "small",
        "expectations": [
            {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "id"}, "meta": {"rule": "given twice"}}
        ],
    }
    rows = [{"id": "a"}, {"id": "a"}, {"id": "b"}]
    found = checkpoint_summary(run_checkpoint(suite, rows, numbers=(), parameters={}))
    assert found == {
        "suite": "small",
        "success": False,
        "rules": [{"rule": "given twice", "success": False, "rows": 3, "broken": 2}],
    }
