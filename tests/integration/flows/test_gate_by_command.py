"""`revs gate`: exit codes, policies, what CI systems read; on records, and on a model that another team trained."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import Result
from registered import REQUEST, Installation
from typer.testing import CliRunner

from flows.cli.app import app
from infra.gates.policy import GatePolicy
from revs.errors import BadInput, GateRefused

PAGE = (Path(__file__).parents[3] / "docs/gates.md").read_text(encoding="utf-8")
WARNS = """version: 1
gates:
  efficacy: {guards: The tokens are out of reach., low: 90}
  delta: {guards: No layer gives them away., low: 50, action: warn}
"""


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command prepares the environment of its process, and here that is the one of all tests."""
    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)


def block(language: str) -> str:
    """The example in that language in the part of the page about the file."""
    part = PAGE.partition("## The policy as a file")[2]
    found = re.search(rf"^```{language}\n(.*?)^```$", part, flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def revs(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def cases(path: Path) -> dict[str, list[str]]:
    return {str(case.get("name")): [child.tag for child in case] for case in ElementTree.parse(path).iter("testcase")}


def levels(path: Path) -> dict[str, str]:
    (run,) = json.loads(path.read_text(encoding="utf-8"))["runs"]
    return {result["ruleId"]: result["level"] for result in run["results"]}


def recorded(here: Installation, **more: Any) -> str:
    """A version of a batch that was completed."""
    from registered import closed

    version, batch_id, evidence = here.candidate("one", here.checkpoints[1], **more)
    here.store.close_batch(batch_id, status="completed", outcome={"evidence": closed(evidence, version.version)})
    return version.uri


def test_the_example_of_the_page_does_what_the_page_says(
    here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gates.yaml").write_text(block("yaml"), encoding="utf-8")
    after = {"extraction_rate": 0.0, "perplexity_ratio": 1.004, "worst_form": 35.0, "efficacy": 95.0}
    recorded(here, scores={"after": after, "before": {"worst_form": 60.0}})
    explained, judged = (revs(*shlex.split(line)[1:]) for line in block("sh").splitlines())
    assert explained.exit_code == 0
    for gate in GatePolicy.read(Path("gates.yaml")).gates:
        assert gate.metric in explained.output
    assert "lets more pass than the policy that is shipped for REVS_METHOD=revs-reference in" in explained.output
    assert judged.exit_code == 0, judged.output
    assert set(block("text").splitlines()) <= set(judged.output.splitlines()), judged.output
    assert cases(Path("gate.xml"))["worst_form"] == ["system-out"]
    assert levels(Path("gate.sarif")) == {
        "extraction_rate": "none", "perplexity_ratio": "none", "perplexity_ratio_root": "none",
        "worst_form": "warning", "worst_form_parent": "none", "lineage": "none",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("after", "code", "failed"),
    [({"efficacy": 95.0, "delta": 5.0}, 0, {"delta": "warning"}), ({"efficacy": 5.0}, 3, {"efficacy": "error"})],
    ids=["a warning", "a refusal"],
)
def test_a_refusal_ends_with_3_after_the_files_are_written_and_a_warning_with_0(
    after: dict[str, float], code: int, failed: dict[str, str], here: Installation, tmp_path: Path
) -> None:
    uri = recorded(here, scores={"after": after})
    (tmp_path / "p.yaml").write_text(WARNS, encoding="utf-8")
    files = [tmp_path / "gate.xml", tmp_path / "gate.sarif"]
    answer = revs("gate", uri, "--policy", tmp_path / "p.yaml", "--junit", files[0], "--sarif", files[1], "--json")
    verdict = json.loads(answer.stdout)
    assert verdict["passed"] is (code == 0) and verdict["policy_digest"] == GatePolicy.read(tmp_path / "p.yaml").digest
    assert answer.exit_code == 0 if code == 0 else isinstance(answer.exception, GateRefused)
    assert {name: level for name, level in levels(files[1]).items() if level != "none"} == failed | (
        {"delta": "warning"} if "delta" not in after else {}
    )
    assert verdict["warnings"] == ["delta"]


def test_the_policy_that_is_set_judges_and_says_in_what_it_is_looser(
    here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = recorded(here)
    (tmp_path / "p.yaml").write_text(WARNS.replace("low: 90", "low: 99"), encoding="utf-8")
    monkeypatch.setenv("REVS_GATE_POLICY", str(tmp_path / "p.yaml"))
    assert isinstance(revs("gate", uri).exception, GateRefused)
    document = json.loads(revs("gate", "--explain", "--json").stdout)
    assert document["policy"]["efficacy"]["low"] == 99 and document["looser_than_shipped"] == []
    (tmp_path / "p.yaml").write_text(WARNS.replace("low: 90", "low: 9"), encoding="utf-8")
    assert json.loads(revs("gate", "--explain", "--json").stdout)["looser_than_shipped"] == ["efficacy"]


def test_what_no_gate_could_judge_is_in_the_files_too(here: Installation, tmp_path: Path) -> None:
    answer = revs("gate", "models:/demo/1", "--junit", tmp_path / "gate.xml", "--sarif", tmp_path / "gate.sarif")
    assert isinstance(answer.exception, GateRefused) and "carries no measurements" in str(answer.exception)
    assert cases(tmp_path / "gate.xml") == {"record": ["failure"]}
    assert levels(tmp_path / "gate.sarif") == {"record": "error"}


def test_a_version_that_lacks_an_erasure_fails_in_the_files_as_on_the_terminal(
    here: Installation, tmp_path: Path
) -> None:
    here.batch("one", here.checkpoints[1])
    here.point_champion_to("1")
    uri, _, _ = here.candidate("two", here.checkpoints[1])
    answer = revs("gate", uri.uri, "--junit", tmp_path / "gate.xml")
    assert isinstance(answer.exception, GateRefused) and "lacks what completed batches erased" in str(answer.exception)
    assert cases(tmp_path / "gate.xml") == {"efficacy": [], "lineage": ["failure"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no model was named"),
        (["models:/demo/1", "--policy", "{tmp}/none.yaml"], r"the gate policy .*none\.yaml cannot be read"),
        (["models:/demo/1", "--junit", "{tmp}/no/gate.xml"], "cannot be written"),
        (["models:/demo/1", "--sarif", "{tmp}"], "it is no file"),
        (["models:/demo/1", "--requests", "{tmp}/r.jsonl"], "go together"),
    ],
)
def test_what_cannot_be_meant_ends_in_one_line(words: list[str], said: str, here: Installation, tmp_path: Path) -> None:
    answer = revs("gate", *(word.format(tmp=tmp_path) for word in words))
    assert isinstance(answer.exception, BadInput) and re.search(said, str(answer.exception))
    assert "\n" not in str(answer.exception)


def test_a_model_that_another_team_trained_is_measured_and_judged_by_a_policy_of_its_own(
    here: Installation, tmp_path: Path
) -> None:
    here.registry.register_base(here.checkpoints[1], name="theirs", corpus="corpus.txt")
    (tmp_path / "requests.jsonl").write_text(json.dumps(REQUEST) + "\n", encoding="utf-8")
    (tmp_path / "corpus.txt").write_text("write to wren@example.com\n" * 3, encoding="utf-8")
    (tmp_path / "p.yaml").write_text(
        "version: 1\ngates:\n"
        "  extraction_rate: {guards: Nothing is generated., high: 0}\n"
        "  perplexity_ratio: {guards: Text stays., high: 1.02, need: optional,\n"
        "    root: {guards: Text stays since the root., high: 1.05, need: evidence}}\n",
        encoding="utf-8",
    )
    measured = ["theirs", "--requests", tmp_path / "requests.jsonl", "--corpus", tmp_path / "corpus.txt"]
    answer = revs("gate", *measured, "--policy", tmp_path / "p.yaml", "--junit", tmp_path / "gate.xml")
    assert isinstance(answer.exception, GateRefused) and "insufficient evidence" in str(answer.exception)
    assert cases(tmp_path / "gate.xml") == {
        "extraction_rate": [], "perplexity_ratio": ["skipped"], "perplexity_ratio_root": ["error"], "lineage": [],
    }  # fmt: skip
    (tmp_path / "p.yaml").write_text("version: 1\ngates: {extraction_rate: {guards: Nothing is generated., high: 0}}\n")
    answer = revs("gate", *measured, "--policy", tmp_path / "p.yaml", "--junit", tmp_path / "gate.xml")
    assert answer.exit_code == 0, answer.output
    assert "every gate passed" in answer.output
