"""Every record of a batch: a name of its own, read back as it was written, the next version when its form changes."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from infra.batches import records
from infra.batches.record import Record
from infra.batches.records import Bounds, Edit, EditedToken, Gates, SearchedShard, SurveyedCorpus
from infra.batches.workspace import Workspace
from infra.corpus import Shard, ShardSurvey, Unread
from infra.gates.policy import GatePolicy, check_gates
from infra.search.occurrences import Occurrence
from revs.config import EraseConfig
from revs.errors import OperationFailed

KINDS = [kind for kind in Record.__subclasses__() if kind.__module__ == records.__name__]
FORMS = {
    "Detections": (1, "7b862f165f7a"),
    "Edit": (1, "373b9bad69b5"),
    "Gates": (2, "5ba458ce1b6d"),
    "Occurrences": (1, "62f83a2c30e8"),
    "PromotedVersion": (1, "0c4e138aedb0"),
    "RegisteredVersion": (1, "03c5b1d957df"),
    "ScoresAfter": (2, "944c0a0f07be"),
    "ScoresBefore": (2, "a197b912117f"),
    "SearchedShard": (1, "4ea7915baf54"),
    "SurveyedCorpus": (1, "25e719e2c12d"),
    "Targets": (1, "545d50b684e4"),
    "Tokens": (1, "105b2bb82c62"),
}


def form(kind: type[Record]) -> str:
    """A digest of the fields of a record and of its parts, with their types."""
    schema = kind.model_json_schema(mode="serialization")
    return hashlib.sha256(json.dumps(_bare(schema), sort_keys=True).encode()).hexdigest()[:12]


def _bare(schema: Any) -> Any:
    """A schema without what is said to its reader."""
    if isinstance(schema, dict):
        return {
            key: _bare(value)
            for key, value in schema.items()
            if not (key in ("description", "title") and isinstance(value, str))
        }
    return [_bare(value) for value in schema] if isinstance(schema, list) else schema


def test_a_form_that_changed_has_the_next_version() -> None:
    """If this fails: raise `version` of the record, then write its new version and form here."""
    assert {kind.__name__: (kind.current(), form(kind)) for kind in KINDS} == FORMS


def test_every_record_has_a_name_of_its_own_and_stands_in_the_table() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert all(f"    {kind.__name__} " in (records.__doc__ or "") for kind in KINDS)


def test_a_survey_is_read_back_with_a_file_name_that_is_no_utf_8(tmp_path: Path) -> None:
    file = os.fsdecode(b"caf\xe9.txt")
    shard = Shard(number=7, file=file, path=f"/corpus/{file}", begin=0, end=9, bytes=9, version="1")
    survey = ShardSurvey(
        shard=shard, rows=2, digest="d", has_text=True, intact=True, sha256="s", marks=((0, 0), (1, 5)),
        unread=(Unread(file=file, reason="cut off", rows=1, row=1),),
    )  # fmt: skip
    place = Occurrence(request_id="R", identifier=0, type="US_SSN", row=0, start=1, end=4)
    workspace = Workspace(tmp_path, "B-1")
    record = workspace.write(SearchedShard(survey=survey, occurrences=(place,), others=()), 7)
    corpus = workspace.write(SurveyedCorpus(shards=(survey,), sha256={file: "s"}))
    assert workspace.stages() == ["shard-000007", "survey"]
    assert workspace.read(SearchedShard, 7) == record
    assert workspace.read(SurveyedCorpus) == corpus
    text = (workspace.folder / "survey.json").read_text().replace('\\"rows\\"', '\\"lines\\"')
    (workspace.folder / "survey.json").write_text(text)
    with pytest.raises(OperationFailed, match=r"'survey' is damaged \(shards.0: this is no survey of a shard\)"):
        workspace.read(SurveyedCorpus)
    (workspace.folder / "survey.json").write_text('{"version": 1, "shards": [], "sha256": {"a": "s"}}')
    with pytest.raises(OperationFailed, match=r"'survey' is damaged \(sha256: this is no text\)"):
        workspace.read(SurveyedCorpus)


def test_gates_and_settings_are_read_back_to_the_last_digit_and_whole_numbers_whole(tmp_path: Path) -> None:
    """Evidence is made from what was read back, and signed: 95 must not become 95.0."""
    workspace = Workspace(tmp_path, "B-1")
    report = check_gates({"efficacy": 1 / 3, "extraction_rate": 0.0}, GatePolicy.DEFAULT)
    policy = {metric: Bounds.model_validate(bounds) for metric, bounds in GatePolicy.DEFAULT.to_dict().items()}
    gates = Gates(gates=report.results, policy=policy, verdict=report.verdict, insufficient=report.insufficient)
    workspace.write(gates, 0)
    found = workspace.require(Gates, 0)
    assert found == gates
    shown = {metric: bounds.model_dump() for metric, bounds in found.policy.items()}
    assert json.dumps(shown) == json.dumps(GatePolicy.DEFAULT.to_dict())
    assert json.dumps([asdict(gate) for gate in found.gates]) == json.dumps([asdict(r) for r in report.results])
    config = asdict(EraseConfig(retain_weight=2.0)) | {"survive": []}
    edit = Edit(
        strength="standard", folder="candidate-0", method="revs", config=config, seed=0, seconds=1.25, sweeps=3,
        layers=("w",), tokens=(), weights_before="a", weights_after="b",
    )  # fmt: skip
    workspace.write(edit, 0)
    assert json.dumps(workspace.require(Edit, 0).config) == json.dumps(config)


@pytest.mark.parametrize(
    ("field", "value"),
    [("rank_after", 3.0), ("rank_after", "3"), ("rank_after", None), ("rank", 3)],
    ids=["a fraction", "text", "nothing", "another name"],
)
def test_a_record_takes_exactly_its_types(field: str, value: Any) -> None:
    fields = {"target": "T0000", "position": 0, "token_count": 3, "rank_before": 0, "rank_after": 9, "wanted": 9}
    assert EditedToken(**fields, stopped="reached").rank_after == 9
    with pytest.raises(ValidationError):
        EditedToken(**(fields | {field: value}), stopped="reached")
