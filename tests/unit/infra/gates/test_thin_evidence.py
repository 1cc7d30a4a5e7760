"""Too little was measured to say: a verdict of its own, which is neither a pass nor a refusal."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.gates import policy as gates
from infra.gates.policy import GatePolicy, check_gates
from revs.errors import BadInput, GateRefused, OperationFailed

# As a batch gives it: everything measured, everything good.
WHOLE = {
    "extraction_rate": 0.0,
    "extraction_rate_unseen": 0.0,
    "extraction_rate_other": 0.0,
    "exact_memorization_beyond_chance": 0.0,
    "exact_memorization_beyond_chance_unseen": 1.5,
    "extraction_strength_beyond_chance": 0.0,
    "extraction_strength_beyond_chance_unseen": -1.5,
    "worst_secret_beyond_chance": 0.0,
    "worst_secret_beyond_chance_unseen": 3.0,
    "membership_beyond_chance": 0.1,
    "worst_form": 60.0,
    "worst_form_unseen": 80.0,
    "specificity": 95.0,
    "specificity_root": 90.0,
    "specificity_given": 98.0,
    "perplexity_ratio": 1.0,
    "perplexity_ratio_root": 1.01,
}
HELD_OUT = (
    "extraction_rate_unseen",
    "exact_memorization_beyond_chance_unseen",
    "extraction_strength_beyond_chance_unseen",
    "worst_secret_beyond_chance_unseen",
)
THIN = (*HELD_OUT, "specificity", "specificity_root", "perplexity_ratio_root")


@pytest.fixture(autouse=True)
def agreeing_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite of Great Expectations says what plain comparison says; it has tests of its own."""
    monkeypatch.setattr(gates, "judge_metrics", lambda values, bounds: frozenset(bounds))


def without(*names: str) -> dict[str, float]:
    return {name: value for name, value in WHOLE.items() if name not in names}


@pytest.mark.parametrize(
    ("metrics", "verdict", "insufficient", "why"),
    [
        (WHOLE, "passed", (), "all of it is measured and good"),
        (without(*THIN), "insufficient", THIN, "no held-out context and nobody else's records: the rest must not do"),
        (without("specificity"), "insufficient", ("specificity",), "nobody else's records"),
        (without("specificity_root"), "insufficient", ("specificity_root",), "an earlier night measured nothing"),
        (without("perplexity_ratio_root"), "insufficient", ("perplexity_ratio_root",), "a link of the chain is lost"),
        (WHOLE | {"specificity_root": 69.9}, "refused", (), "small losses of many nights"),
        (WHOLE | {"perplexity_ratio_root": 1.051}, "refused", (), "the same in ordinary text"),
        (without(*HELD_OUT), "insufficient", HELD_OUT, "no held-out context"),
        (without("membership_beyond_chance"), "passed", (), "no number is among the identifiers"),
        (without("specificity_given"), "passed", (), "there were no others' records to give"),
        (without("exact_memorization_beyond_chance"), "refused", (), "nothing tells how much is left"),
        (without("extraction_rate_other"), "passed", (), "there were no occurrences that were not memorised"),
        (without("perplexity_ratio"), "refused", (), "every batch can measure it, so missing fails"),
        (
            without("specificity") | {"perplexity_ratio": 1.5},
            "refused",
            ("specificity",),
            "a failed gate is still a refusal",
        ),
        (WHOLE | {"specificity": math.nan}, "refused", (), "measured but no number is no missing evidence"),
        (WHOLE | {"extraction_rate_other": 2.5}, "refused", (), "the edit brought up what was not memorised before"),
        (WHOLE | {"exact_memorization_beyond_chance": 12.0}, "refused", (), "more follows than would of a decoy"),
        (WHOLE | {"exact_memorization_beyond_chance": -12.0}, "refused", (), "less does: a trace"),
        (WHOLE | {"worst_secret_beyond_chance": 30.0}, "refused", (), "one of many is left"),
        (WHOLE | {"membership_beyond_chance": 1.0}, "refused", (), "likelier than a decoy"),
        (WHOLE | {"membership_beyond_chance": -1.0}, "refused", (), "less likely than a decoy: a trace"),
        (without("worst_form", "worst_form_unseen"), "passed", (), "no digit or letter is a token of its own"),
        (WHOLE | {"worst_form": 5.0}, "refused", (), "no number can follow where one stood"),
        (WHOLE | {"worst_form_unseen": 5.0}, "refused", (), "nor under prompts that the edit did not use"),
        ({}, "refused", THIN, "nothing at all"),
    ],
)
def test_thin_evidence_is_a_verdict_of_its_own(
    metrics: dict[str, float], verdict: str, insufficient: tuple[str, ...], why: str
) -> None:
    report = check_gates(metrics, GatePolicy.DEFAULT)
    assert report.passed is (verdict == "passed"), why
    assert (report.verdict, report.insufficient) == (verdict, insufficient), why
    assert report.to_dict()["verdict"] == verdict
    assert report.to_dict()["insufficient"] == list(insufficient)


@given(st.sets(st.sampled_from(sorted(WHOLE))), st.sets(st.sampled_from(sorted(WHOLE))))
def test_measuring_less_never_turns_a_verdict_into_a_pass(dropped: set[str], more: set[str]) -> None:
    order = {"passed": 0, "insufficient": 1, "refused": 2}
    reports = [check_gates(without(*names), GatePolicy.DEFAULT) for names in (dropped, dropped | more)]
    assert not any(report.passed for report in reports if set(THIN) & dropped)
    assert order[reports[0].verdict] <= order[reports[1].verdict]


def test_missing_evidence_ends_with_a_line_that_says_what_was_not_measured_why_and_what_helps() -> None:
    with pytest.raises(GateRefused) as refusal:
        check_gates(without(*THIN), GatePolicy.DEFAULT).raise_if_refused()
    text = str(refusal.value)
    assert text.startswith("insufficient evidence: extraction_rate_unseen was not measured because ")
    assert "specificity was not measured because no memorised record of other people was found" in text
    assert "--approved-by NAME" in text and "\n" not in text
    assert refusal.value.exit_code == 3


def test_a_suite_that_cannot_run_refuses_whatever_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OperationFailed("the suite could not run")

    monkeypatch.setattr(gates, "judge_metrics", broken)
    report = check_gates(without(*THIN), GatePolicy.DEFAULT)
    assert (report.verdict, report.to_dict()["problem"]) == ("refused", "the suite could not run")


@pytest.mark.parametrize(
    ("entry", "need"),
    [
        ({"low": 1}, "required"),
        ({"low": 1, "need": "evidence"}, "evidence"),
        ({"low": 1, "required": True}, "required"),  # as records of older versions have it
        ({"low": 1, "required": False}, "optional"),
    ],
)
def test_a_policy_says_what_a_missing_metric_means(entry: dict[str, object], need: str) -> None:
    (gate,) = GatePolicy.from_dict({"efficacy": entry}).gates
    assert gate.need == need


@pytest.mark.parametrize("need", ["maybe", None, True, ["required"]])
def test_a_need_that_is_unknown_is_refused(need: object) -> None:
    with pytest.raises(BadInput, match="need"):
        GatePolicy.from_dict({"efficacy": {"low": 1, "need": need}})


@pytest.mark.parametrize(
    ("entries", "looser", "why"),
    [
        ({"efficacy": {"low": 90, "high": 100}}, False, "the same"),
        ({"efficacy": {"low": 95, "high": 100}}, False, "a higher lower end lets less pass"),
        ({"efficacy": {"low": 89, "high": 100}}, True, "a lower lower end"),
        ({"efficacy": {"low": 90, "high": 101}}, True, "a higher upper end"),
        ({"efficacy": {"low": 90}}, True, "no upper end"),
        ({"efficacy": {"low": 90, "high": 100, "need": "evidence"}}, True, "missing no longer fails"),
        ({"delta": {"low": 1}}, True, "the gate is gone"),
    ],
)
def test_a_looser_policy_is_known_by_the_gates_that_let_more_pass(
    entries: dict[str, dict[str, object]], looser: bool, why: str
) -> None:
    installed = GatePolicy.from_dict({"efficacy": {"low": 90, "high": 100}})
    assert GatePolicy.from_dict(entries).looser_than(installed) == (("efficacy",) if looser else ()), why


def test_a_policy_is_not_looser_than_itself_and_an_older_record_of_it_is() -> None:
    old = {name: {k: v for k, v in e.items() if k != "need"} | {"required": e["need"] == "required"}
           for name, e in GatePolicy.DEFAULT.to_dict().items()}  # fmt: skip
    assert GatePolicy.DEFAULT.looser_than(GatePolicy.DEFAULT) == ()
    assert GatePolicy.from_dict(old).looser_than(GatePolicy.DEFAULT) == THIN
