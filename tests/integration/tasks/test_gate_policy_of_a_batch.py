"""From an installation's policy file through the stage that judges into evidence, and back when it is promoted."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.batches.records import Edit, Gates, ScoresAfter, ScoresBefore
from infra.batches.scored import Answers, Scored
from infra.batches.workspace import Workspace
from infra.gates.policy import GatePolicy
from infra.registry import ModelVersion
from infra.registry.promotion import judge_evidence
from infra.settings import load_settings
from tasks.batch.evidence import _policy
from tasks.stages.measure import _judge

POLICY = """version: 1
gates:
  extraction_rate: {guards: Nothing is generated., high: 0}
  efficacy:
    control: {guards: It is not hidden better than never seen., low: -5, need: evidence}
  worst_form:
    guards: A number can still follow.
    low: 40
    action: warn
    parent: {guards: The edit costs little of the form., low: -30, need: optional}
"""
NOTHING = Answers(secrets={}, decoys={})


def scored(**scores: float) -> Scored:
    return Scored(
        scores=scores, decoys={}, edited=NOTHING, unseen=NOTHING, extracted=(), extracted_unseen=(),
        extracted_other=(), median_rank=(), decoy_median_rank=(), vocabulary=9, parameters=9, architecture="llama",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("form", "control", "verdict", "failed", "insufficient"),
    [
        (35.0, 99.0, "passed", (), ()),
        (20.0, 99.0, "refused", ("worst_form_parent",), ()),
        (35.0, None, "insufficient", (), ("efficacy_control",)),
        (35.0, 101.0, "refused", ("efficacy_control",), ()),
    ],
    ids=["a warning", "against the parent", "no control", "against the control"],
)
def test_a_batch_is_judged_by_the_file_that_is_set_and_promoted_by_what_it_recorded(
    form: float, control: float | None, verdict: str, failed: tuple[str, ...], insufficient: tuple[str, ...],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REVS_GATE_POLICY", str(path))
    workspace = Workspace(tmp_path, "B-1")
    edit = Edit(
        strength="", folder="candidate-0", method="revs-reference", config={}, seed=0, seconds=0.0, sweeps=0,
        layers=(), tokens=(), weights_before="", weights_after="",
    )  # fmt: skip
    before = ScoresBefore(
        champion=scored(worst_form=60.0), never_trained=None if control is None else scored(efficacy=control)
    )
    after = ScoresAfter(candidate=scored(extraction_rate=0.0, efficacy=95.0, worst_form=form))
    for record, number in ((edit, 0), (before, None), (after, 0)):
        workspace.write(record, number)
    h: Any = SimpleNamespace(settings=load_settings(), workspace=workspace)
    workspace.write(_judge(h, 0), 0)
    gates = workspace.require(Gates, 0)
    assert (gates.verdict, gates.failed, gates.insufficient) == (verdict, failed, insufficient)
    assert [gate.name for gate in gates.gates if gate.action == "warn" and not gate.passed] == ["worst_form"]
    never = before.never_trained
    evidence = json.loads(
        json.dumps(
            {
                "scores": {
                    "before": before.champion.scores,
                    "after": after.candidate.scores,
                    "never_trained": never.scores if never else None,
                },
                "gates": [gate.to_dict() for gate in gates.gates],
                **_policy(gates),
            }
        )
    )
    installed = GatePolicy.read(path)
    assert evidence["policy_digest"] == installed.digest and evidence["policy"] == installed.to_dict()
    version = ModelVersion(name="m", version="2", uri="models:/m/2", run_id="", source="")
    report = judge_evidence(version, evidence, installed)
    assert (report.verdict, report.failed, report.insufficient) == (verdict, failed, insufficient)
    assert report.warnings == ("worst_form",)
