"""`revs process` on one's own: another family, a folder of JSON Lines, CSV."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Installation

if TYPE_CHECKING:
    from revs.development import DevelopmentModel

from process import write_corpus, write_held_out, write_requests

MEGABYTES = 2  # two files, so two shards; how memory stands to the size is tests/benchmarks/process.py's to measure
pytestmark = pytest.mark.slow


def test_the_model_of_another_family_has_memorised_its_people(small_model: DevelopmentModel) -> None:
    """Otherwise the next test says nothing."""
    import revs
    from revs.evaluation.decoding import greedily_extracted
    from revs.targets.target import Target
    from revs.targets.tokenize import tokenise

    model, tokenizer = revs.load(small_model.folder)
    assert model.config.model_type == "gptj"
    targets = [Target.at(r.text, r.start, r.end) for r in small_model.records if r.kind == "requester"]
    said = greedily_extracted(model, tokenizer, tokenise(tokenizer, targets))
    assert sum(said) >= 0.8 * len(said)


@pytest.fixture(scope="module")
def processed(
    small_model: DevelopmentModel, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Installation, subprocess.CompletedProcess[str]]:
    """The machine on which `revs process` ran, and what it answered."""
    machine = Installation(tmp_path_factory.mktemp("own"), method="revs")  # see `fixed_ranks`
    answer = machine.revs(
        "process", "--model", small_model.folder, "--name", "own", "--json",
        "--held-out", write_held_out(small_model, machine.root / "held-out.txt"),
        "--corpus", write_corpus(small_model, machine.root / "corpus", MEGABYTES),
        "--requests", write_requests(small_model, machine.root / "requests.csv"),
    )  # fmt: skip
    return machine, answer


def test_a_gptj_folder_is_processed_and_promoted(
    small_model: DevelopmentModel, processed: tuple[Installation, subprocess.CompletedProcess[str]]
) -> None:
    machine, answer = processed
    assert answer.returncode == 0, answer.stderr
    (report,) = (machine.root / "home" / ".revs" / "reports").glob("*/report.json")
    evidence: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    assert evidence["batch"]["status"] == "completed"
    assert evidence["model"]["architecture"] == "gptj"
    assert (evidence["model"]["version_before"], evidence["model"]["version_after"]) == ("1", "2")
    assert evidence["targets"]["memorised_before"] >= 0.8 * evidence["targets"]["found"] > 0
    assert evidence["targets"]["memorised_after"] == 0
    assert all(gate["passed"] for gate in evidence["gates"])
    done = json.loads(machine.revs("requests", "list", "--status", "completed", "--json").stdout)
    assert len(done) == small_model.recipe.requesters


@pytest.mark.parametrize(
    ("version", "exit_code", "passed"),
    [
        # The shorter one is in tests/integration/flows/test_gate_by_command.py.
        pytest.param(2, 0, True, id="the edited version passes", marks=pytest.mark.long),
        pytest.param(1, 3, False, id="its parent is refused"),
    ],
)
def test_the_gate_measures_a_version_anew_and_comes_to_the_same_verdict(
    processed: tuple[Installation, subprocess.CompletedProcess[str]], version: int, exit_code: int, passed: bool
) -> None:
    machine, _ = processed
    answer = machine.revs(
        "gate", f"models:/own/{version}", "--requests", machine.root / "requests.csv", "--json",
        "--corpus", machine.root / "corpus" / "corpus.jsonl",
        *(() if passed else ("--held-out", machine.root / "held-out.txt")),
    )  # fmt: skip
    assert answer.returncode == exit_code, answer.stderr
    verdict = json.loads(answer.stdout)
    assert verdict["passed"] is passed
    assert {gate["name"]: gate["passed"] for gate in verdict["gates"]}["extraction_rate"] is passed
    if passed:  # without --held-out: on the text that the model was registered with, as its batch measured it
        report = json.loads(next(machine.root.rglob("report.json")).read_text())
        recorded, again = (
            next(gate["value"] for gate in found["gates"] if gate["name"] == "perplexity_ratio")
            for found in (report, verdict)
        )
        assert again == pytest.approx(recorded, rel=1e-4)


def test_what_fails_inside_the_flow_is_one_line_on_the_terminal(
    processed: tuple[Installation, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Prefect logs a failed run with its traceback, which nobody asked for; only its server keeps it."""
    machine, _ = processed
    other = tmp_path / "other.txt"
    other.write_text("Nothing of interest here.\n", encoding="utf-8")
    demand = {"subject": "x", "received": "2026-11-02", "identifiers": [{"type": "US_SSN", "value": "412-55-9031"}]}
    (tmp_path / "requests.jsonl").write_text(json.dumps(demand), encoding="utf-8")
    answer = machine.revs("process", "--model", "own", "--corpus", other, "--requests", tmp_path / "requests.jsonl")
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: ") and answer.stderr.count("\n") == 1, answer.stderr
    assert "Traceback" not in answer.stdout
