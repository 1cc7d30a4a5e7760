"""What fails once a model was edited, in a gate or in the surroundings: the champion stays, and no request is lost."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Answer, Cli, champion_of, requests_of
from taught_people import SAID, json_lines, requests_for, write_inputs

if TYPE_CHECKING:
    from infra.settings import Settings
    from revs.targets.target import Target

pytestmark = pytest.mark.slow


NEVER_MEMORISED = "tansy.heath@example.com"


@pytest.fixture
def own(
    taught: Path, settings: Settings, tmp_path: Path, people: list[Target], ordinary: list[str], fixed_ranks: None
) -> list[str | Path]:
    """The `process` command line for the tiny model: five requests, one of them twice, and one that is malformed."""
    lines = json_lines(requests_for(SAID | {NEVER_MEMORISED: "EMAIL_ADDRESS"}))
    lines += [lines[0].replace("2026-11-01", "2026-11-07"), '{"subject": "nobody"}']
    files = write_inputs(tmp_path, people, ordinary, lines, more=f"Write to {NEVER_MEMORISED}.")
    return [
        "process", "--model", taught, "--name", "own", "--corpus", files["corpus"], "--held-out", files["held-out"],
        "--requests", files["requests"],
    ]  # fmt: skip


def with_gate(monkeypatch: pytest.MonkeyPatch, **bounds: float) -> None:
    """Put one gate in place of the policy: whether the edit is good enough is not the question here."""
    from infra.gates.policy import Gate, GatePolicy

    gates = (Gate(metric="perplexity_ratio", **bounds),)
    monkeypatch.setattr(GatePolicy, "RANKS", GatePolicy(gates=gates))


def test_a_gate_that_fails_leaves_the_champion_and_hands_the_requests_to_a_human(
    cli: Cli, settings: Settings, own: list[str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import flows.process
    from tasks.batch.stage import open_store
    from tasks.stages.edit import strengths

    with_gate(monkeypatch, high=0.001)
    monkeypatch.setenv("REVS_BATCH_HALVING", "0")  # test_halving.py has what it does
    # One refusal takes as long as it must.
    monkeypatch.setattr(flows.process, "strengths", lambda method: strengths(method)[:1])
    answer = cli(*own)
    assert answer.code == 3 and "perplexity_ratio" in answer.err and "the champion is untouched" in answer.err
    (batch,) = open_store(settings).batches()
    assert batch.status == "refused" and batch.id in answer.err
    assert (settings.home / "reports" / batch.id / "report.html").exists()
    assert champion_of(settings, "own") == "1"
    found = requests_of(settings)
    # One was never memorised: nothing about it depends on the edit that was refused.
    assert {status: len(views) for status, views in found.items()} == {
        "failed": 4, "completed": 1, "rejected": 1, "duplicate": 1,
    }  # fmt: skip
    assert all("perplexity_ratio" in str(view.reason) for view in found["failed"])
    assert not list(settings.work_dir.iterdir()), "no candidate is left lying about"

    again = cli("process", "--model", "own", "--json")
    assert again.code == 0 and json.loads(again.out)["status"] == "nothing to do", "the schedule does not try for ever"
    assert len(open_store(settings).batches()) == 1


def test_a_full_disk_loses_nothing_and_the_next_run_completes_the_batch(
    cli: Cli, settings: Settings, own: list[str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full three times: registering the user's model, writing the edited one, registering the edited one."""
    from mlflow import MlflowClient
    from safetensors import SafetensorError
    from transformers import PreTrainedModel

    from tasks.batch.stage import open_registry, open_store

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def full_too(*_: Any, **__: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    def run_into(target: Any, name: str, failing: Any) -> Answer:
        with monkeypatch.context() as patch:
            patch.setattr(target, name, failing)
            return cli(*own)

    with_gate(monkeypatch, high=10)
    answer = run_into(MlflowClient, "log_model_artifacts", full)
    assert answer.code == 1 and "no space left on device" in answer.err
    assert open_registry(settings).names() == [] and requests_of(settings) == {}

    answer = run_into(PreTrainedModel, "save_pretrained", full_too)
    assert answer.code == 1 and "free space" in answer.err and "resumes" in answer.err
    assert not list(settings.work_dir.glob("*/candidate-*")), "no half-written model is left"

    answer = run_into(MlflowClient, "log_model_artifacts", full)
    assert answer.code == 1 and "no space left on device" in answer.err and "champion is untouched" in answer.err
    assert champion_of(settings, "own") == "1"
    assert len(requests_of(settings)["processing"]) == 5

    assert cli(*own).code == 0
    (batch,) = open_store(settings).batches()
    assert batch.status == "completed" and champion_of(settings, "own") == "2"
    assert len(requests_of(settings)["completed"]) == 5
