"""The report: what it says, what it must never say, and that the same record always gives the same bytes."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from datetime import date
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.report import write_report
from infra.report.canonical import FORBIDDEN_FIELDS, canonical
from infra.report.charts import rank_chart
from infra.report.deadlines import deadline, one_month_after
from infra.report.figures import percent
from revs.errors import OperationFailed

EXAMPLE = Path(__file__).parents[3] / "cases" / "evidence_example.json"
VOID = {"meta", "br", "line", "rect", "circle", "path", "polyline"}
LOADS = {"src", "srcset", "href", "xlink:href", "action", "data", "poster", "formaction"}


class Page(HTMLParser):
    """The parsed page: elements with their attributes, the visible text, and whether every element was closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(html)
        self.close()
        self.unbalanced += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self._open or self._open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self._open[-1:]):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def evidence() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(EXAMPLE.read_text())
    return loaded


def refused(evidence: dict[str, Any]) -> dict[str, Any]:
    batch = copy.deepcopy(evidence)
    batch["batch"]["status"] = "refused"
    batch["model"] |= {"version_after": None, "uri_after": None, "weights_after": None, "retire_on": None}
    for request in batch["requests"]:
        request["status"] = "received" if request["status"] == "completed" else request["status"]
    batch["intake"]["completed"] = 0
    batch["scores"]["after"]["specificity"] = 62.5
    next(gate for gate in batch["gates"] if gate["name"] == "specificity").update(value=62.5, passed=False)
    return batch


def page(evidence: dict[str, Any], folder: Path) -> Page:
    return Page(write_report(evidence, folder).read_text())


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


def test_a_missing_rank_breaks_the_line_instead_of_dropping_to_zero() -> None:
    chart = rank_chart({"layers": [0, 1, 2, 3, 4], "after_median": [50, 60, None, 70, 80], "vocabulary": 1000})
    assert chart is not None
    (line,) = chart.series
    assert len(line.paths) == 2
    assert len(line.points) == 4


@pytest.mark.parametrize(
    "ranks",
    [{}, {"layers": []}, {"layers": [0, 1], "before_median": [None, None]}, {"layers": [0], "after_median": None}],
)
def test_no_numbers_give_no_chart(ranks: dict[str, Any]) -> None:
    assert rank_chart(ranks) is None


@given(
    ranks=st.lists(st.one_of(st.none(), st.floats(min_value=0, max_value=300_000)), min_size=1, max_size=90),
    vocabulary=st.one_of(st.none(), st.integers(min_value=2, max_value=300_000)),
)
def test_every_point_lies_inside_the_plot_and_lower_ranks_lie_higher(
    ranks: list[float | None], vocabulary: int | None
) -> None:
    chart = rank_chart({"layers": list(range(len(ranks))), "before_median": ranks, "vocabulary": vocabulary})
    known = [rank for rank in ranks if rank is not None]
    if not known:
        assert chart is None
        return
    assert chart is not None
    (line,) = chart.series
    assert all(chart.left <= x <= chart.right and chart.top <= y <= chart.bottom for x, y in line.points)
    by_rank = [y for _, (_, y) in sorted(zip(known, line.points, strict=True), key=lambda pair: pair[0])]
    assert by_rank == sorted(by_rank)


def test_labels_of_lines_that_end_together_do_not_overlap() -> None:
    same = [5, 5]
    ranks = {"layers": [0, 1], "before_median": same, "after_median": same, "decoy_median": same, "vocabulary": 4096}
    chart = rank_chart(ranks)
    assert chart is not None
    heights = sorted(line.label_y for line in chart.series)
    assert all(lower - upper >= 14 for upper, lower in pairwise(heights))


HOSTILE = """</style></title><script>alert(1)</script><img src=x onerror=alert(1)>" onload="alert(1)' -->{{ 7*7 }}"""


def hostile(value: Any) -> Any:
    """Every string of the evidence made hostile, except the few that decide what is shown."""
    if isinstance(value, dict):
        return {name: hostile(item) for name, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value + HOSTILE if isinstance(value, str) else value


def test_hostile_strings_stay_text(evidence: dict[str, Any], tmp_path: Path) -> None:
    attacked = hostile(evidence) | {"schema": evidence["schema"]}
    attacked["edit"]["config"][HOSTILE] = HOSTILE
    attacked["scores"]["after"][HOSTILE] = 1.0
    attacked["versions"][HOSTILE] = HOSTILE
    for status in ("completed", "refused"):
        attacked["batch"]["status"] = status
        parsed = page(attacked, tmp_path)
        assert {tag for tag, _ in parsed.elements}.isdisjoint({"script", "img", "iframe", "object", "link", "form"})
        assert not [name for _, attrs in parsed.elements for name in attrs if name.startswith("on")]
        assert not parsed.unbalanced
        assert "<script>alert(1)</script>" in parsed.text  # shown, as text
        assert "49" not in re.findall(r"-->(\S+)", parsed.text)


def test_a_command_to_copy_quotes_what_the_record_says(evidence: dict[str, Any], tmp_path: Path) -> None:
    evidence["batch"]["id"] = "B-1; rm -rf /"
    assert "revs audit 'B-1; rm -rf /'" in page(evidence, tmp_path).text


def test_the_page_loads_nothing_and_runs_nothing(evidence: dict[str, Any], tmp_path: Path) -> None:
    html = write_report(evidence, tmp_path).read_text()
    parsed = Page(html)
    references = [value or "" for _, attrs in parsed.elements for name, value in attrs.items() if name in LOADS]
    assert references and all(value.startswith("#") for value in references)
    assert not re.search(r"url\(|@import|https?:|<script|<link", html)
    assert any(attrs.get("http-equiv") == "Content-Security-Policy" for _, attrs in parsed.elements)
    assert len(html.encode()) < 300_000


def test_the_page_is_well_formed_and_usable_without_sight(evidence: dict[str, Any], tmp_path: Path) -> None:
    parsed = page(evidence, tmp_path)
    tags = [tag for tag, _ in parsed.elements]
    assert not parsed.unbalanced
    assert tags.count("table") == tags.count("caption") == 11
    assert all("scope" in attrs for tag, attrs in parsed.elements if tag == "th")
    assert tags.count("svg") == tags.count("desc") == 2
    ids = [str(attrs["id"]) for _, attrs in parsed.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = {name for _, attrs in parsed.elements for name in (attrs.get("aria-labelledby") or "").split()}
    targets = {value[1:] for _, attrs in parsed.elements if (value := attrs.get("href"))}
    assert named | targets <= set(ids)


def test_text_contrasts_with_its_background_in_light_and_dark() -> None:
    css = (Path(__file__).parents[4] / "infra/report/report.css").read_text()
    for block in re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        papers = [name for name in colours if name in ("paper", "tint") or name.endswith("-tint")]
        inks = ["ink", "muted", "accent", "good", "bad", "caution", "before", "after", "decoy", "control"]
        for ink in inks:
            for paper in papers if ink in ("ink", "muted") else ["paper", f"{ink}-tint"]:
                if paper in colours:
                    assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_same_evidence_gives_the_same_bytes(evidence: dict[str, Any], tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    backwards = dict(reversed(list(copy.deepcopy(evidence).items())))
    write_report(evidence, first)
    write_report(backwards, second)
    for name in ("report.json", "report.html"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert sorted(path.name for path in first.iterdir()) == ["report.html", "report.json"]


def test_the_page_shows_the_digest_of_the_json_beside_it(evidence: dict[str, Any], tmp_path: Path) -> None:
    html = write_report(evidence, tmp_path).read_text()
    digest = hashlib.sha256((tmp_path / "report.json").read_bytes()).hexdigest()
    assert html.count(digest) == 3


def test_long_digests_are_short_on_the_page_and_whole_in_the_title(evidence: dict[str, Any], tmp_path: Path) -> None:
    parsed = page(evidence, tmp_path)
    subject = evidence["requests"][0]["subject"]
    assert subject not in parsed.text
    assert subject[:12] + "…" in parsed.text
    assert any(attrs.get("title") == subject for _, attrs in parsed.elements)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(TEXT.filter(lambda name: name.lower() not in FORBIDDEN_FIELDS), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(value=JSON_VALUES)
def test_the_record_of_a_record_is_itself(value: Any) -> None:
    record = canonical({"schema": "revs.evidence/1", "notes": [{"x": value}]})
    assert canonical(json.loads(record.content)).content == record.content


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (2**53 - 1, 9007199254740991),
        (2**53 + 1, "9007199254740993"),  # no double holds it: kept as digits, not rounded
        (10**20, 100000000000000000000),
        (10**400, "1" + "0" * 400),
        (date(2026, 11, 23), "2026-11-23"),
        ((1, 2), [1, 2]),
        (True, True),
    ],
)
def test_a_value_is_stored_exactly(value: Any, stored: Any) -> None:
    content = canonical({"schema": "revs.evidence/1", "seed": value}).content
    assert json.loads(content)["seed"] == stored


@pytest.mark.parametrize("field", sorted(FORBIDDEN_FIELDS))
def test_a_field_that_may_carry_personal_data_stops_the_report(
    field: str, evidence: dict[str, Any], tmp_path: Path
) -> None:
    evidence["edit"]["tokens"][3][field] = "219-41-5522"
    with pytest.raises(OperationFailed, match=field) as caught:
        write_report(evidence, tmp_path / "new")
    assert "219-41-5522" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_the_stored_record_has_no_forbidden_field(evidence: dict[str, Any], tmp_path: Path) -> None:
    write_report(evidence, tmp_path)
    fields = set(re.findall(r'"(\w+)":', (tmp_path / "report.json").read_text()))
    assert fields and fields.isdisjoint(FORBIDDEN_FIELDS)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda e: e.update(schema="revs.evidence/9"), "revs.evidence/9"),
        (lambda e: e.pop("schema"), "schema"),
        (lambda e: e.update(gates={"efficacy": 1}), "'gates' is no list"),
        (lambda e: e.update(requests=["R-1"]), "'requests' is no list"),
        (lambda e: e.update(scores=[1]), "'scores' is no object"),
        (lambda e: e["edit"].update(config={"dtype": object()}), "object at /edit/config/dtype"),
        (lambda e: e.update(notes=["\ud800"]), "Unicode"),
    ],
)
def test_what_is_no_evidence_is_refused_in_one_line(
    spoil: Any, message: str, evidence: dict[str, Any], tmp_path: Path
) -> None:
    spoil(evidence)
    with pytest.raises(OperationFailed, match=message) as caught:
        write_report(evidence, tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written_keeps_the_earlier_report(evidence: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OperationFailed, match="the batch and its model version are not affected"):
        write_report(evidence, tmp_path / "file" / "report")


def test_a_disk_that_fills_up_leaves_the_earlier_report_and_no_rest(
    evidence: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier = write_report(evidence, tmp_path).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("infra.report.report.os.replace", full)
    with pytest.raises(OperationFailed, match="No space left on device"):
        write_report(refused(evidence), tmp_path)
    assert (tmp_path / "report.html").read_bytes() == earlier
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


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
    assert one_month_after(day) == later


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
    page = Page(write_report(evidence, tmp_path).read_text(encoding="utf-8")).text
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

    better = {metric.name: metric.better for metric in EXPLAINED}
    standard = {n: "higher" if m.higher_is_better else "lower" for n, m in METRICS.items() if m.standard}
    assert better == standard
