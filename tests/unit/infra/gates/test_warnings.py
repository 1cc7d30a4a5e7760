"""Gates that warn are shown and refuse nothing; gates that block refuse, whatever else warns."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.gates import policy as gates
from infra.gates.policy import Gate, GatePolicy, check_gates

POLICY = GatePolicy(
    gates=(
        Gate(metric="extraction_rate", high=0),
        Gate(metric="worst_form", low=25, action="warn"),
        Gate(metric="specificity", low=80, need="evidence", action="warn"),
        Gate(metric="delta", low=50, need="optional", action="warn"),
    )
)
GOOD = {"extraction_rate": 0.0, "worst_form": 60.0, "specificity": 95.0, "delta": 70.0}
NUMBERS = st.one_of(st.floats(), st.none())


@pytest.fixture(autouse=True)
def agreeing_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "judge_metrics", lambda values, bounds: frozenset(bounds))


@pytest.mark.parametrize(
    ("scores", "verdict", "warnings", "why"),
    [
        (GOOD, "passed", (), "all good"),
        (GOOD | {"worst_form": 5.0}, "passed", ("worst_form",), "outside"),
        (GOOD | {"worst_form": math.nan}, "passed", ("worst_form",), "no number"),
        ({"extraction_rate": 0.0}, "passed", ("worst_form", "specificity"), "missing, of which two must be said"),
        (GOOD | {"extraction_rate": 1.0, "worst_form": 5.0}, "refused", ("worst_form",), "a gate that blocks failed"),
        ({"worst_form": 60.0}, "refused", ("specificity",), "what blocks is missing"),
    ],
)
def test_a_warning_never_refuses_and_is_always_told(
    scores: dict[str, float], verdict: str, warnings: tuple[str, ...], why: str
) -> None:
    report = check_gates(scores, POLICY)
    assert (report.verdict, report.warnings) == (verdict, warnings), why
    assert report.to_dict()["warnings"] == list(warnings)
    recorded = {gate["name"]: gate.get("action") for gate in report.to_dict()["gates"]}
    assert all(recorded[name] == "warn" for name in warnings) and recorded["extraction_rate"] is None
    if verdict == "passed":
        report.raise_if_refused()


def test_where_only_what_warns_could_be_judged_nothing_passes() -> None:
    optional = Gate(metric="membership_beyond_chance", low=-1, high=1, need="optional")
    report = check_gates({"worst_form": 60.0}, GatePolicy(gates=(optional, POLICY.gates[1])))
    assert report.results and report.warnings == () and report.verdict == "refused"


@given(form=NUMBERS, other=NUMBERS, delta=NUMBERS, rate=NUMBERS)
def test_only_what_blocks_decides(
    form: float | None, other: float | None, delta: float | None, rate: float | None
) -> None:
    given = {"worst_form": form, "specificity": other, "delta": delta, "extraction_rate": rate}
    scores = {name: value for name, value in given.items() if value is not None}
    assert check_gates(scores, POLICY).passed is (rate is not None and -math.inf < rate <= 0)


@pytest.mark.parametrize(
    ("mine", "installed", "looser"),
    [("warn", "block", True), ("block", "warn", False), ("warn", "warn", False), ("block", "block", False)],
)
def test_a_gate_that_warns_is_looser_than_one_that_blocks(mine: str, installed: str, looser: bool) -> None:
    def policy(action: str) -> GatePolicy:
        return GatePolicy.from_dict({"delta": {"low": 1}, "efficacy": {"low": 90, "action": action}})

    assert policy(mine).looser_than(policy(installed)) == (("efficacy",) if looser else ())
    without = GatePolicy.from_dict({"delta": {"low": 1}})
    assert without.looser_than(policy("warn")) == () and without.looser_than(policy("block")) == ("efficacy",)
