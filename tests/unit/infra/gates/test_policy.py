"""Gates as pure decisions; for the Great Expectations suite behind them see the integration tests."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.gates import policy as gates
from infra.gates.policy import Gate, GatePolicy, check_gates
from revs.errors import BadInput, GateRefused, OperationFailed

POLICY = GatePolicy(
    gates=(
        Gate(metric="efficacy", low=90),
        Gate(metric="perplexity_ratio", high=1.02),
        Gate(metric="generality", low=50, need="optional"),
    )
)
GOOD = {"efficacy": 95.0, "perplexity_ratio": 1.0}


@pytest.fixture
def suite(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], None]:
    """Replace the suite by one that agrees with a fixed answer."""

    def answer(result: object) -> None:
        def judge(values: object, bounds: object) -> object:
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(gates, "judge_metrics", judge)

    answer(frozenset({"efficacy", "perplexity_ratio", "generality"}))
    return answer


@pytest.mark.parametrize(
    ("gate", "bound"),
    [
        (Gate(metric="efficacy", low=90), "≥ 90"),
        (Gate(metric="perplexity_ratio", high=1.02), "≤ 1.02"),
        (Gate(metric="extraction_rate", high=0), "≤ 0"),
        (Gate(metric="delta", low=0, high=5.5), "≥ 0 and ≤ 5.5"),
    ],
)
def test_a_bound_reads_as_a_person_writes_it(gate: Gate, bound: str) -> None:
    assert gate.bound == bound


@pytest.mark.parametrize(
    ("value", "admitted", "why"),
    [
        (90, True, "the lower end belongs to the range"),
        (100.0, True, "the upper end belongs to the range"),
        (89.999, False, "just below"),
        (100.001, False, "just above"),
        (math.nan, False, "NaN is no number"),
        (math.inf, False, "an infinity is no measurement"),
        (None, False, "missing"),
        ("95", False, "text is no number"),
        (True, False, "a flag is no number"),
    ],
)
def test_a_gate_admits_finite_numbers_within_its_range(value: object, admitted: bool, why: str) -> None:
    assert Gate(metric="efficacy", low=90, high=100).admits(value) is admitted, why


@given(low=st.floats(-1e9, 1e9), value=st.floats(allow_nan=True, allow_infinity=True))
def test_a_lower_gate_admits_exactly_the_finite_values_not_below_it(low: float, value: float) -> None:
    assert Gate(metric="m", low=low).admits(value) == (math.isfinite(value) and not value < low)


@pytest.mark.parametrize(
    "bounds",
    [{}, {"low": math.nan}, {"high": math.inf}, {"low": 2, "high": 1}, {"low": "90"}, {"high": True}],
    ids=["none", "nan", "infinite", "empty range", "text", "flag"],
)
def test_a_gate_that_cannot_judge_is_refused_when_it_is_made(bounds: dict[str, float]) -> None:
    with pytest.raises(BadInput):
        Gate(metric="efficacy", **bounds)


@pytest.mark.parametrize(
    "table",
    [{}, {"efficacy": 90}, {"efficacy": {"min": 90}}, {"efficacy": {}}, {"efficacy": {"low": 1, "required": "no"}}],
    ids=["no gates", "no mapping", "unknown word", "no bound", "required is text"],
)
def test_a_policy_file_with_a_mistake_is_refused(table: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        GatePolicy.from_dict(table)


def test_a_metric_with_two_gates_is_refused() -> None:
    with pytest.raises(BadInput, match="efficacy"):
        GatePolicy(gates=(Gate(metric="efficacy", low=1), Gate(metric="efficacy", low=2)))


POLICIES = pytest.mark.parametrize("policy", [GatePolicy.DEFAULT, GatePolicy.RANKS], ids=["reference", "ranks"])


@POLICIES
def test_a_policy_survives_the_way_through_a_file(policy: GatePolicy) -> None:
    assert GatePolicy.from_dict(policy.to_dict()) == policy


@pytest.mark.parametrize("method", ["revs-reference", "memit", None])
def test_fixed_ranks_are_asked_of_the_method_of_fixed_ranks_alone(method: str | None) -> None:
    assert GatePolicy.of("revs") == GatePolicy.RANKS
    assert GatePolicy.of(method) == GatePolicy.DEFAULT


def test_the_default_policy_asks_for_no_rank() -> None:
    """Where digits are tokens of their own, a model that never saw a secret has an efficacy of 11."""
    asked = {gate.metric for gate in GatePolicy.DEFAULT.gates}
    assert not asked & {"efficacy", "generality", "logit_lens", "delta", "perturbation"}


def test_every_distance_is_bounded_on_both_sides_alike() -> None:
    found = [gate for gate in GatePolicy.DEFAULT.gates if "_beyond_chance" in gate.metric]
    distances = [gate for gate in found if not gate.metric.startswith("worst_")]  # of which only what is left counts
    assert len(distances) == 5
    assert all(gate.high is not None and gate.low == -gate.high for gate in distances)


@POLICIES
def test_every_policy_requires_that_nothing_can_be_extracted(policy: GatePolicy) -> None:
    gates_by_name = {gate.metric: gate for gate in policy.gates}
    assert gates_by_name["extraction_rate"].high == gates_by_name["extraction_rate_unseen"].high == 0
    assert gates_by_name["extraction_rate"].need == "required"
    assert gates_by_name["extraction_rate_other"].high == 0


@pytest.mark.parametrize(
    ("change", "failed", "why"),
    [
        ({}, (), "all good; the optional metric is absent"),
        ({"generality": 60.0}, (), "the optional metric is there and good"),
        ({"generality": 40.0}, ("generality",), "optional does not mean harmless"),
        ({"generality": math.nan}, ("generality",), "NaN fails even where absence would not"),
        ({"efficacy": 89.0}, ("efficacy",), "below"),
        ({"efficacy": math.nan}, ("efficacy",), "NaN"),
        ({"perplexity_ratio": -math.inf}, ("perplexity_ratio",), "an infinity on the good side is still no number"),
    ],
)
def test_gates_fail_closed(
    suite: Callable[[object], None], change: dict[str, float], failed: tuple[str, ...], why: str
) -> None:
    report = check_gates(GOOD | change, POLICY)
    assert report.failed == failed, why
    assert report.passed is (not failed)


def test_a_missing_metric_fails_its_gate(suite: Callable[[object], None]) -> None:
    report = check_gates({"efficacy": 95.0}, POLICY)
    assert report.failed == ("perplexity_ratio",)
    assert report.results[1].value is None


def test_a_gate_passes_only_if_the_suite_agrees(suite: Callable[[object], None]) -> None:
    suite(frozenset({"efficacy"}))
    assert check_gates(GOOD, POLICY).failed == ("perplexity_ratio",)


def test_no_gate_passes_if_the_suite_cannot_run(suite: Callable[[object], None]) -> None:
    suite(OperationFailed("the suite could not run"))
    report = check_gates(GOOD, POLICY)
    assert report.failed == ("efficacy", "perplexity_ratio")
    with pytest.raises(GateRefused, match="could not run"):
        report.raise_if_refused()


def test_only_optional_gates_and_no_metric_pass_nothing(suite: Callable[[object], None]) -> None:
    policy = GatePolicy(gates=(Gate(metric="generality", low=50, need="optional"),))
    report = check_gates({}, policy)
    assert report.results == ()
    assert not report.passed


def test_a_refusal_names_gate_value_and_bound_in_one_line(suite: Callable[[object], None]) -> None:
    report = check_gates({"efficacy": 85.5}, POLICY)
    with pytest.raises(GateRefused) as refusal:
        report.raise_if_refused()
    text = str(refusal.value)
    assert "efficacy 85.5 (must be ≥ 90)" in text
    assert "perplexity_ratio missing" in text
    assert "\n" not in text


@pytest.mark.parametrize("gate", GatePolicy.RANKS.gates, ids=lambda gate: gate.metric)
def test_every_gate_on_ranks_bounds_a_registered_metric_on_its_bad_side(gate: Gate) -> None:
    from revs.evaluation.metrics import METRICS

    # The rate over occurrences that were not memorised before is counted by the pipeline, not by `revs.evaluate`.
    higher = METRICS[gate.metric.removesuffix("_other").removesuffix("_root")].higher_is_better
    assert (gate.low is not None) == higher
    assert (gate.high is not None) != higher
