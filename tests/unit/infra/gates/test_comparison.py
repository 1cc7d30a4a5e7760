"""How a version compares with others: with its parent, a control, and the root of its lineage."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.gates import policy as gates
from infra.gates.comparison import since_root, with_comparisons
from infra.gates.policy import Gate, GatePolicy, check_gates

# People nobody named, in percent, after each of five nights (/docs/benchmarks/reference.md and the design's own run).
LEFT = (100, 96, 92, 90, 70)
PERPLEXITY = (1.0005, 1.0016, 1.0027, 1.0038, 1.0048)


@pytest.fixture(autouse=True)
def agreeing_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "judge_metrics", lambda values, bounds: frozenset(bounds))


def nights(left: tuple[float, ...], perplexity: tuple[float, ...]) -> list[dict[str, float]]:
    """What each night measures against the night before."""
    return [
        {"specificity": 100 * now / before, "perplexity_ratio": after / earlier}
        for before, now, earlier, after in zip((100, *left), left, (1.0, *perplexity), perplexity, strict=False)
    ]


def test_the_first_night_is_its_own_number_to_the_last_digit() -> None:
    own = {"specificity": 100 / 3, "perplexity_ratio": 1.0123456789, "efficacy": 99.0}
    assert since_root([], own) == {"specificity_root": 100 / 3, "perplexity_ratio_root": 1.0123456789}


def test_the_numbers_of_five_nights_come_to_what_is_left_of_the_root() -> None:
    *earlier, last = nights(LEFT, PERPLEXITY)
    found = since_root(earlier, last)
    assert found["specificity_root"] == pytest.approx(70) and found["perplexity_ratio_root"] == pytest.approx(1.0048)


def of_two() -> GatePolicy:
    names = ("specificity", "specificity_root", "perplexity_ratio", "perplexity_ratio_root")
    return GatePolicy(gates=tuple(gate for gate in GatePolicy.DEFAULT.gates if gate.metric in names))


@pytest.mark.parametrize(
    ("nightly", "root", "why"),
    [
        ({"specificity": 93.0, "perplexity_ratio": 1.002}, "specificity_root", "a third of the people in five nights"),
        ({"specificity": 99.0, "perplexity_ratio": 1.0199}, "perplexity_ratio_root", "ordinary text, little by little"),
    ],
)
def test_five_nights_each_within_its_own_gates_are_refused_at_the_root(
    nightly: dict[str, float], root: str, why: str
) -> None:
    """Without the gates on the root each night passes, as it did."""
    own = [gate for gate in of_two().gates if not gate.metric.endswith("_root")]
    verdicts = []
    for night in range(6):
        scores = nightly | since_root([nightly] * night, nightly)
        assert check_gates(scores, GatePolicy(gates=tuple(own))).passed
        verdicts.append(check_gates(scores, of_two()).failed)
    assert verdicts[0] == () and verdicts[-1] == (root,), why
    refused = [bool(verdict) for verdict in verdicts]
    assert refused == sorted(refused), "what is lost is not found again"


@pytest.mark.parametrize("lost", [None, math.nan, math.inf, -1.0, 0.0, "1.0", True, 10**400])
@pytest.mark.parametrize("link", [0, 2, 4])
def test_a_link_without_a_number_is_insufficient_evidence_and_never_a_pass(lost: object, link: int) -> None:
    chain: list[dict[str, Any]] = [dict(night) for night in nights((99, 98, 97, 96, 95), PERPLEXITY)]
    chain[link]["perplexity_ratio"] = lost
    if lost is None:
        del chain[link]["perplexity_ratio"]
    *earlier, own = chain
    found = since_root(earlier, own)
    assert "perplexity_ratio_root" not in found and found["specificity_root"] == pytest.approx(95)
    report = check_gates({"specificity": 98.0, "perplexity_ratio": 1.0} | found, of_two())
    assert (report.verdict, report.insufficient) == ("insufficient", ("perplexity_ratio_root",))
    assert "the evidence of a version of its lineage is missing, was changed" in report.why_insufficient


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30))
def test_the_product_is_never_more_than_its_worst_night(shares: list[float]) -> None:
    first, *others = [{"specificity": share} for share in shares]
    (found,) = since_root(others, first).values()
    assert 0 <= found <= min(shares) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("scores", "found", "why"),
    [
        ({"after": {"form": 60.0}, "before": {"form": 85.0}}, {"form_parent": -25.0}, "points lost against the parent"),
        ({"after": {"form": 60.0}, "never_trained": {"form": 70.0}}, {"form_control": -10.0}, "against the control"),
        ({"after": {"form": 60.0}, "before": None, "never_trained": None}, {}, "no such model"),
        ({"after": {"form": 60.0}, "before": {"delta": 1.0}}, {}, "another metric"),
        ({"after": None}, {}, "nothing measured"),
    ],
)
def test_scores_are_compared_with_those_of_the_other_models(
    scores: dict[str, Any], found: dict[str, float], why: str
) -> None:
    assert with_comparisons(scores) == {**(scores["after"] or {}), **found}, why


@pytest.mark.parametrize("other", [None, math.nan, math.inf, "85", True, 10**400])
def test_a_comparison_with_what_is_no_number_passes_no_gate(other: object) -> None:
    gate = Gate(metric="worst_form_parent", low=-30, need="optional")
    scores = with_comparisons({"after": {"worst_form": 60.0}, "before": {"worst_form": other}})
    assert check_gates(scores, GatePolicy(gates=(gate,))).failed == ("worst_form_parent",)
