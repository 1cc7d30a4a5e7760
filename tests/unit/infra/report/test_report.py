"""What the report says of a batch: what was done, what was refused, what is missing, by when, and no more."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from report_page import Page, page, refused

from infra.report import write_report
from infra.report.deadlines import deadline
from infra.report.figures import percent


def test_a_promoted_batch_is_told_in_one_sentence(evidence: dict[str, Any], tmp_path: Path) -> None:
    text = page(evidence, tmp_path).text
    assert (
        "14 deletion requests carried out on model demo: version 1 was edited into version 2, which reproduces" in text
    )
    assert "none of the 51 memorised targets, passed every gate and was promoted." in text
    assert "The record contradicts itself" not in text


def test_the_report_says_that_the_old_version_still_holds_the_data_and_until_when(
    evidence: dict[str, Any], tmp_path: Path
) -> None:
    text = page(evidence, tmp_path).text
    assert "superseded version 1 no longer serves, but its stored bytes still hold the data until" in text
    assert "Their retention period ends on 2026-12-23" in text and "until they are, erasure is not complete" in text


def test_a_promotion_without_a_deletion_date_is_not_passed_over(evidence: dict[str, Any], tmp_path: Path) -> None:
    evidence["model"]["retire_on"] = None
    text = page(evidence, tmp_path).text
    assert "no date is recorded by which they must be deleted" in text
    assert "The record contradicts itself in 1 place." in text


def test_a_refused_batch_promotes_nothing_and_names_the_gate(evidence: dict[str, Any], tmp_path: Path) -> None:
    text = page(refused(evidence), tmp_path).text
    assert (
        "Nothing was promoted, because 1 gate failed (Specificity): version 1 of model demo stays the champion" in text
    )
    assert "and it still holds the data of the open requests" in text
    assert "14 still open" in text
    assert "was promoted" not in text.replace("Nothing was promoted", "")
    assert "The record contradicts itself" not in text


def test_a_gate_that_only_warns_is_shown_and_refuses_nothing(evidence: dict[str, Any], tmp_path: Path) -> None:
    warned = {"name": "worst_form", "value": 5.0, "bound": "≥ 25", "passed": False, "action": "warn"}
    evidence["gates"].append(warned)
    evidence["scores"]["after"]["worst_form"] = 5.0
    evidence["policy"] = {"worst_form": {"low": 25, "high": None, "need": "optional", "guards": "A number can follow."}}
    text = page(evidence, tmp_path).text
    assert "passed every gate (1 warning: Form) and was promoted." in text
    assert "Form worst_form A number can follow. 5 ≥ 25 ! warning, refuses nothing" in text
    assert "The record contradicts itself" not in text
    assert "because 1 gate failed (Specificity)" in page(refused(evidence), tmp_path).text


def test_a_batch_that_was_split_names_the_gate_and_how_its_requests_go_on(
    evidence: dict[str, Any], tmp_path: Path
) -> None:
    batch = refused(evidence)
    first, second = (request["id"] for request in batch["requests"][:2])
    batch["batch"] |= {"status": "split", "parent": "B-20261101-0a1b2c", "lots": [[first], [second]]}
    text = page(batch, tmp_path).text
    assert "Refused, goes on in halves" in text
    assert "Nothing was promoted, because 1 gate failed (Specificity)" in text
    assert (
        f"are tried again in smaller batches, so that what breaks the gates is found and the others are done: {first}"
        in text
    )
    assert f"{first} and {second}." in text
    assert "one half of batch B-20261101-0a1b2c, which was refused" in text
    assert "The record contradicts itself" not in text


def test_a_split_batch_of_which_every_gate_passed_contradicts_itself(evidence: dict[str, Any], tmp_path: Path) -> None:
    evidence["batch"]["status"] = "split"
    assert "The record contradicts itself in 1 place." in page(evidence, tmp_path).text


@pytest.mark.parametrize("status", ["refused", "failed", "open"])
def test_a_registered_candidate_is_no_promotion(status: str, evidence: dict[str, Any], tmp_path: Path) -> None:
    batch = refused(evidence)
    batch["batch"]["status"] = status
    batch["model"] |= {"version_after": "2", "uri_after": "models:/demo/2"}
    text = page(batch, tmp_path).text
    assert "Nothing was promoted" in text
    assert "Version 1 is unchanged, serves on, and holds the data until a batch succeeds." in text
    assert "After (not promoted)" in text
    assert "superseded version 1" not in text


@pytest.mark.parametrize("status", ["failed", "open"])
def test_a_batch_that_broke_off_renders_from_almost_nothing(status: str, tmp_path: Path) -> None:
    bare = {
        "schema": "revs.evidence/1",
        "batch": {"id": "B-1", "status": status},
        "model": {"name": "demo", "version_before": "1"},
        "scores": None,
        "ranks": None,
        "edit": None,
    }
    parsed = page(bare, tmp_path)
    assert "Nothing was promoted" in parsed.text
    assert "No score was recorded." in parsed.text
    assert "no gate result recorded" in parsed.text
    assert not parsed.unbalanced


def test_each_number_of_the_record_stands_under_its_own_heading(evidence: dict[str, Any], tmp_path: Path) -> None:
    evidence["requests"][0] |= {"occurrences": 901, "memorised_before": 903, "memorised_after": 902}
    evidence["edit"] |= {"method": "neurons", "layers": [4, 5], "sweeps": 904, "seed": 905, "seconds": 906.25}
    evidence["targets"] |= {"found": 907, "edited": 908, "unseen": 909, "retained": 910}
    evidence["model"] |= {"uri_before": "models:/demo/91", "uri_after": "models:/demo/92"}
    text = page(evidence, tmp_path).text
    for said in (
        "901 903 902",
        "Method neurons Layers edited 4, 5 Sweeps over the model 904 Seed 905 Time of the edit 906.2 s",
        "Targets found in the corpus 907 Targets used by the edit 908 Targets kept from the edit, to test it 909",
        "Targets of others, which must keep working 910",
        "Registry address models:/demo/91 models:/demo/92",
    ):
        assert said in text


def test_a_batch_with_nothing_to_edit_claims_no_edit(evidence: dict[str, Any], tmp_path: Path) -> None:
    evidence["model"] |= {"version_after": None, "uri_after": None, "weights_after": None, "retire_on": None}
    evidence["gates"] = []
    text = page(evidence, tmp_path).text
    assert "14 deletion requests closed without an edit: version 1 of model demo stays the champion" in text
    assert "was promoted" not in text


@pytest.mark.parametrize(
    ("spoil", "statement"),
    [
        (lambda e: e["gates"][0].update(passed=False), "A promoted version passed every gate"),
        (lambda e: e.update(gates=[]), "A promoted version passed every gate"),
        (lambda e: e["gates"][2].update(value=12.0), "The gates judged the values that the scores table shows."),
        (lambda e: e["model"].update(weights_after=e["model"]["weights_before"]), "The weights after the edit differ"),
        (lambda e: e["intake"].update(completed=15), "The requests in the table add up to the counts"),
        (lambda e: e["targets"].update(memorised_before=50), "The memorised targets of the requests add up"),
        (lambda e: e["requests"][0].update(memorised_after=9), "more memorised targets after the edit than before"),
        (lambda e: e["batch"].update(closed_at="2026-10-01"), "No request was completed before it was received."),
    ],
)
def test_a_record_that_contradicts_itself_warns_the_signer(
    spoil: Any, statement: str, evidence: dict[str, Any], tmp_path: Path
) -> None:
    spoil(evidence)
    text = page(evidence, tmp_path).text
    assert "The record contradicts itself in 1 place. Do not sign it" in text
    assert re.search(re.escape(statement) + r"[^✓✗·]*✗ does not hold", text)


def test_missing_controls_are_marked_and_never_zero(evidence: dict[str, Any], tmp_path: Path) -> None:
    before = page(evidence, tmp_path).text.count("not measured")
    evidence["scores"] |= {"never_trained": None, "decoys_before": None, "decoys_after": None}
    parsed = page(evidence, tmp_path)
    assert parsed.text.count("not measured") >= before + 30
    row = re.search(r"Efficacy Last layer.*?(?=Efficacy, all tokens)", parsed.text)
    assert row and row.group().endswith("0.4% > 99.9% not measured not measured not measured ")


def test_nan_becomes_a_marked_gap_in_both_files(evidence: dict[str, Any], tmp_path: Path) -> None:
    broken = refused(evidence)
    broken["scores"]["after"]["perplexity"] = float("nan")
    broken["gates"][7].update(value=float("inf"), passed=False)
    broken["ranks"]["after_median"][2] = float("nan")
    text = page(broken, tmp_path).text
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["scores"]["after"]["perplexity"] is None
    assert stored["gaps"] == [
        {"path": "/gates/7/value", "was": "infinity"},
        {"path": "/ranks/after_median/2", "was": "NaN"},
        {"path": "/scores/after/perplexity", "was": "NaN"},
    ]
    assert "no value (NaN)" in text
    assert "no value (infinity) ≤ 1.02 ✗ failed" in text


@pytest.mark.parametrize(
    ("day", "later"),
    [
        (date(2026, 11, 2), date(2026, 12, 2)),
        (date(2026, 12, 15), date(2027, 1, 15)),
        (date(2026, 1, 31), date(2026, 2, 28)),  # the month is shorter: its last day
        (date(2028, 1, 31), date(2028, 2, 29)),
    ],
)
def test_a_month_ends_on_the_same_day_of_the_next(day: date, later: date) -> None:
    row = deadline({"id": "R", "received": f"{day}"}, closed_at=None, version_after=None)
    assert (row.month_ends, row.ccpa_ends) == (later, day + timedelta(days=45))


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [
        ({}, "not recorded"),  # by an earlier version
        ({"regime": "Zorblatt"}, "not recorded"),
        ({"regime": "gdpr", "extended_on": None}, "GDPR"),
        ({"regime": "ccpa", "extended_on": "2026-11-20"}, "CCPA, extended on 2026-11-20"),
    ],
)
def test_the_regime_of_a_request_and_its_extension_stand_in_the_report(
    recorded: dict[str, Any], shown: str, evidence: dict[str, Any], tmp_path: Path
) -> None:
    assert deadline(recorded, closed_at=None, version_after=None).regime == shown
    evidence["requests"][0] |= recorded
    assert shown in Page(write_report(evidence, tmp_path).read_text(encoding="utf-8")).text


def test_a_date_at_the_end_of_the_calendar_breaks_no_report() -> None:
    row = deadline({"id": "R", "received": "9999-12-31", "due": "9999-12-31"}, closed_at=None, version_after=None)
    assert (row.month_ends, row.ccpa_ends) == (None, None)


@pytest.mark.parametrize(
    ("status", "due", "standing", "late"),
    [
        ("completed", "2026-11-25", "in time, 2 days to spare", False),
        ("completed", "2026-11-23", "in time, on the last day", False),
        ("completed", "2026-11-22", "closed 1 day late", True),
        ("received", "2026-11-24", "open, 1 day left", False),
        ("failed", "2026-11-20", "open, overdue by 3 days", True),  # a failed request is not done with
        ("completed", None, "unknown: a date is missing", None),
        ("completed", "soon", "unknown: a date is missing", None),
    ],
)
def test_a_deadline_is_judged_on_the_day_the_batch_closed(
    status: str, due: str | None, standing: str, late: bool | None
) -> None:
    request = {"id": "R", "status": status, "received": "2026-11-01", "due": due}
    row = deadline(request, closed_at="2026-11-23T05:59:22+00:00", version_after="2")
    assert (row.standing, row.late) == (standing, late)


@pytest.mark.parametrize(
    ("kinds", "occurrences", "done"),
    [
        (["not_memorised"], 3, "Found in the corpus, but not memorised by the model; nothing to edit"),
        (["edited"], 3, "Edited; version 2 reproduces 0 of the 3 memorised"),
        ([], 0, "Closed by an earlier version of this program, without a record of any probe"),
    ],
)
def test_what_was_done_for_a_completed_request_is_no_more_than_its_outcomes_say(
    kinds: list[str], occurrences: int, done: str
) -> None:
    request = {
        "id": "R", "status": "completed", "received": "2026-11-01", "due": "2026-11-30", "occurrences": occurrences,
        "memorised_before": occurrences, "memorised_after": 0, "outcomes": [{"kind": kind} for kind in kinds],
    }  # fmt: skip
    assert deadline(request, closed_at="2026-11-23T05:59:22+00:00", version_after="2").done == done


def test_the_outcome_of_each_identifier_stands_in_the_report(evidence: dict[str, Any], tmp_path: Path) -> None:
    detail = {"rows": 41, "unread": "2 rows", "without_corpus": {"openings": 5, "said_no": {}, "verdict": "undecided"}}
    evidence["requests"][0]["outcomes"] = [
        {"number": 0, "type": "EMAIL_ADDRESS", "kind": "edited", "detail": {"edited": 2, "held_out": 1}},
        {"number": 1, "type": "US_SSN", "kind": "not_found", "detail": detail},
    ]
    why = {"reason": "not_theirs", "why": "it is not theirs"}
    evidence["requests"][0]["dropped"] = [{"number": 2, "type": "PHONE_NUMBER", "kind": "dropped", "detail": why}]
    page = Page(write_report(evidence, tmp_path).read_text(encoding="utf-8")).text
    assert "PHONE_NUMBER: dropped: it is not theirs" in page
    assert "EMAIL_ADDRESS: edited in 2 contexts, 1 kept to test the edit" in page
    assert "US_SSN: not found in 41 rows of the corpus, in what could be read of them (2 rows could not be)" in page
    assert "under 5 prompts that need no corpus: undecided" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0%"), (0.04, "< 0.1%"), (0.05, "0.1%"), (99.94, "99.9%"), (99.96, "> 99.9%"), (100.0, "100.0%")],
)
def test_a_percentage_is_never_rounded_into_a_perfect_one(value: float, text: str) -> None:
    assert percent(value).text == text


def test_the_report_explains_every_standard_metric_with_its_direction() -> None:
    from infra.report.metrics import METRICS as EXPLAINED
    from revs.evaluation.metrics import METRICS

    words = {True: "higher", False: "lower", None: "near 0"}
    better = {name: metric.better for name, metric in EXPLAINED.items()}
    known = {name: words[metric.higher_is_better] for name, metric in METRICS.items()}
    assert {name for name, metric in METRICS.items() if metric.standard} <= better.keys()
    assert {name: better[name] for name in better.keys() & known.keys()} == {
        name: known[name] for name in better.keys() & known.keys()
    }


def test_the_report_explains_every_gate_of_both_policies() -> None:
    from infra.gates.policy import GatePolicy
    from infra.report.metrics import METRICS

    gates = {gate.metric: gate for policy in (GatePolicy.DEFAULT, GatePolicy.RANKS) for gate in policy.gates}
    for name, gate in gates.items():
        ends = (gate.low is not None, gate.high is not None)
        assert METRICS[name].better == {(True, False): "higher", (False, True): "lower"}.get(ends, "near 0"), name


def with_reference(evidence: dict[str, Any], what: str) -> dict[str, Any]:
    evidence["ranks"] |= {"reference_median": [700, 470, 350, 290, 260, 270], "reference": what}
    evidence["scores"]["after"] |= {"exact_memorization_beyond_chance": 0.0, "exact_memorization_distance": -0.01}
    return evidence


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("never trained", "a model that was trained in the same way without these people"),
        ("decoys before", "what the version before the edit makes of decoys under the same prompts"),
    ],
)
def test_five_sentences_say_what_the_reference_is_beside_the_picture_that_shows_it(
    what: str, words: str, evidence: dict[str, Any], tmp_path: Path
) -> None:
    source = write_report(with_reference(evidence, what), tmp_path).read_text(encoding="utf-8")
    page = Page(source).text
    begin = page.index("An edited model should look like")
    told = page[begin : page.index("have lost.", begin) + len("have lost.")]
    assert words in told and told.count(". ") + 1 == 5
    assert "Reference: from 700 to 270." in page and "Decoys: from" not in page
    assert page.index(told) < page.index("How likely the edited tokens are") < page.index("Every score, with")
    assert "→ 0" in page and "under ±0.1" in page


def test_a_record_from_before_the_reference_is_still_drawn_with_its_decoys(
    evidence: dict[str, Any], tmp_path: Path
) -> None:
    page = Page(write_report(evidence, tmp_path).read_text(encoding="utf-8")).text
    assert "As if it had never seen the person" not in page
    assert "Decoys: from 701 to 274." in page
    assert "Efficacy efficacy 99.98 ≥ 90 ✓ passed" in page
