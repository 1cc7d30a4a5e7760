"""The record behind the page: the same bytes for the same evidence, no personal data, and never half written."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_page import refused

from infra.report import write_report
from infra.report.canonical import FORBIDDEN_FIELDS, canonical
from revs.errors import OperationFailed


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
