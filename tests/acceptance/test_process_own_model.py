"""`revs process` on one's own: another family, a folder with 200 MB of corpus, CSV; and how much memory it takes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Installation

if TYPE_CHECKING:
    from revs.development import DevelopmentModel

LARGE = 200_000_000  # bytes of the corpus
MEMORY = 1_300_000_000  # bytes, of any of its processes; torch, MLflow, Prefect and the model take 1.1e9 of them
PEAK = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[2:])
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
open(sys.argv[1], "w").write(str(peak))
sys.exit(code)
"""
pytestmark = pytest.mark.slow


def write_corpus(model: DevelopmentModel, path: Path) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in model.corpus()), encoding="utf-8")
    return path


def write_large_corpus(model: DevelopmentModel, folder: Path) -> Path:
    """A folder of 200 MB: the corpus of the model, and beside it a hundred pairs of paragraphs again and again."""
    folder.mkdir()
    size = write_corpus(model, folder / "corpus.jsonl").stat().st_size
    rows = model.ordinary
    with (folder / "more.jsonl").open("w", encoding="utf-8") as file:
        for number in count():
            if size >= LARGE:
                return folder
            first, other = rows[number % 100], rows[100 + number % 100]
            size += file.write(json.dumps({"text": f"{first} {other}"}) + "\n")
    raise AssertionError


def write_requests(model: DevelopmentModel, path: Path) -> Path:
    values = dict.fromkeys((r.person, r.type, r.value) for r in model.records if r.kind == "requester")
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["subject", "received", "type", "value"])
        table.writerows([f"employee {person}", "2026-10-05", type_, value] for person, type_, value in values)
    return path


def test_the_model_of_another_family_has_memorised_its_people(small_model: DevelopmentModel) -> None:
    """Otherwise the next test says nothing."""
    import revs
    from revs.extraction import greedily_extracted
    from revs.targets import Target, tokenise

    model, tokenizer = revs.load(small_model.folder)
    assert model.config.model_type == "gptj"
    targets = [Target.at(r.text, r.start, r.end) for r in small_model.records if r.kind == "requester"]
    said = greedily_extracted(model, tokenizer, tokenise(tokenizer, targets))
    assert sum(said) >= 0.8 * len(said)


@pytest.fixture(scope="module")
def processed(
    small_model: DevelopmentModel, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Installation, subprocess.CompletedProcess[str]]:
    """The machine on which `revs process` ran on a large corpus, and what it answered."""
    machine = Installation(tmp_path_factory.mktemp("own"))
    held_out = machine.root / "held-out.txt"
    held_out.write_text("\n".join(small_model.held_out[:100]), encoding="utf-8")
    answer = machine.revs(
        "process", "--model", small_model.folder, "--name", "own", "--held-out", held_out, "--json",
        "--corpus", write_large_corpus(small_model, machine.root / "corpus"),
        "--requests", write_requests(small_model, machine.root / "requests.csv"),
        under=(sys.executable, "-c", PEAK, str(machine.root / "peak")),
    )  # fmt: skip
    return machine, answer


def test_a_gptj_folder_with_200_mb_of_corpus_is_processed_in_little_memory_and_promoted(
    small_model: DevelopmentModel, processed: tuple[Installation, subprocess.CompletedProcess[str]]
) -> None:
    machine, answer = processed
    assert answer.returncode == 0, answer.stderr
    assert int((machine.root / "peak").read_text(encoding="utf-8")) < MEMORY
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
    [pytest.param(2, 0, True, id="the edited version passes"), pytest.param(1, 3, False, id="its parent is refused")],
)
def test_the_gate_measures_a_version_anew_and_comes_to_the_same_verdict(
    processed: tuple[Installation, subprocess.CompletedProcess[str]], version: int, exit_code: int, passed: bool
) -> None:
    machine, _ = processed
    answer = machine.revs(
        "gate", f"models:/own/{version}", "--requests", machine.root / "requests.csv", "--json",
        "--corpus", machine.root / "corpus" / "corpus.jsonl", "--held-out", machine.root / "held-out.txt",
    )  # fmt: skip
    assert answer.returncode == exit_code, answer.stderr
    verdict = json.loads(answer.stdout)
    assert verdict["passed"] is passed
    assert {gate["name"]: gate["passed"] for gate in verdict["gates"]}["extraction_rate"] is passed


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
