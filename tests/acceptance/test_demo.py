"""`revs demo`, run as its users run it: what it promises in summary, report and registry, and its other doors."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from revs.development import Recipe, build

if TYPE_CHECKING:
    from conftest import Installation

    from infra.registry import ModelVersion, Registry

pytestmark = pytest.mark.slow

METRICS = {"efficacy", "generality", "specificity", "unlearning_score", "logit_lens", "delta", "perturbation",
           "resistance_score", "extraction_rate", "extraction_rate_unseen", "perplexity"}  # fmt: skip
SAY = """
import json, sys, mlflow
uri, prompts = sys.argv[1], json.load(sys.stdin)
mlflow.set_tracking_uri(uri)
said = []
for version in (1, 2):
    model = mlflow.transformers.load_model(f"models:/demo/{version}")
    answers = model(prompts, max_new_tokens=24, do_sample=False, return_full_text=False)
    said.append([answer[0]["generated_text"] for answer in answers])
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def summary(demo_run: Installation) -> dict[str, Any]:
    return demo_run.summary


@pytest.fixture(scope="module")
def registry(demo_run: Installation) -> Registry:
    from infra.registry import Registry

    return Registry(f"sqlite:///{demo_run.state / 'mlflow.db'}", (demo_run.state / "artifacts").as_uri())


@pytest.fixture(scope="module")
def versions(registry: Registry) -> tuple[ModelVersion, ModelVersion]:
    return registry.resolve("models:/demo/1"), registry.resolve("models:/demo/2")


def test_the_summary_has_the_promised_form(summary: dict[str, Any]) -> None:
    assert {
        "model": summary["model"],
        "version_before": summary["version_before"],
        "version_after": summary["version_after"],
        "aliases": summary["aliases"],
        "report": summary["report"],
    } == {
        "model": "demo",
        "version_before": "1",
        "version_after": "2",
        "aliases": {"champion": "2"},
        "report": "report.html",
    }
    assert {"received", "completed", "rejected", "failed"} <= set(summary["requests"])
    assert {"found", "memorised_before", "memorised_after"} <= set(summary["targets"])
    assert all(set(gate) == {"name", "value", "bound", "passed"} for gate in summary["gates"])
    assert 0 < summary["seconds"]["edit"] < summary["seconds"]["total"]


def test_every_good_request_is_completed_the_malformed_one_rejected_and_the_duplicate_folded(
    summary: dict[str, Any],
) -> None:
    requests = summary["requests"]
    assert requests["completed"] >= 12
    assert (requests["rejected"], requests["duplicates"], requests["failed"]) == (1, 1, 0)
    assert requests["received"] == requests["completed"] + 2


def test_what_was_memorised_is_no_longer_extracted(summary: dict[str, Any]) -> None:
    targets = summary["targets"]
    assert targets["memorised_before"] >= 20
    assert targets["memorised_after"] == 0
    assert targets["found"] > targets["memorised_before"], "one request asks for what was never memorised"


def test_every_gate_passed_and_language_quality_is_kept(summary: dict[str, Any]) -> None:
    assert summary["gates"] and all(gate["passed"] is True for gate in summary["gates"])
    scores = summary["scores"]
    assert not METRICS - set(scores["before"])
    assert not (METRICS | {"perplexity_ratio"}) - set(scores["after"])
    assert scores["after"]["perplexity_ratio"] <= 1.02
    assert scores["after"]["perplexity"] / scores["before"]["perplexity"] <= 1.02


def test_every_score_stands_beside_its_controls(summary: dict[str, Any]) -> None:
    scores = summary["scores"]
    assert not METRICS - set(scores["never_trained"])
    assert scores["never_trained"]["extraction_rate"] == 0, "a model that never saw them cannot say them"
    assert "efficacy" in scores["decoys_before"] and "efficacy" in scores["decoys_after"]


def test_the_report_names_its_batch_and_when_the_old_version_goes(
    demo_run: Installation, summary: dict[str, Any], versions: tuple[ModelVersion, ModelVersion]
) -> None:
    report = (demo_run.out / "report.html").read_text(encoding="utf-8")
    assert summary["batch"] in report
    assert versions[0].tags["revs.retire_on"] in report
    assert "<script" not in report and "http://" not in report.replace("http://www.w3.org", "")


def test_the_champion_is_version_2_and_version_1_waits_for_its_end(
    versions: tuple[ModelVersion, ModelVersion],
) -> None:
    old, new = versions
    assert (old.aliases, new.aliases) == (("previous",), ("champion",))
    assert old.tags["revs.status"] == "superseded" and new.tags["revs.status"] == "champion"
    assert old.tags["revs.superseded_by"] == "2"
    assert (date.fromisoformat(old.tags["revs.retire_on"]) - datetime.now(UTC).date()).days in (29, 30)


def test_the_version_carries_its_lineage(
    demo_run: Installation, registry: Registry, versions: tuple[ModelVersion, ModelVersion]
) -> None:
    from infra.registry import weight_digest

    old, new = versions
    summary, evidence = demo_run.summary, registry.evidence(new)
    assert evidence is not None
    tags = new.tags
    assert (tags["revs.parent"], tags["revs.batch_id"]) == ("1", summary["batch"])
    lineage = json.loads((artifacts_of(demo_run, new) / "lineage.json").read_text(encoding="utf-8"))
    assert len(lineage["requests"]) >= summary["requests"]["completed"]
    assert all(len(digest) == 64 for digest in lineage["requests"])
    assert lineage["config"] == evidence["edit"]["config"]
    assert lineage["code_commit"]
    assert lineage["weights_before"] == old.weights == weight_digest(registry.download(old))
    assert lineage["weights_after"] == new.weights == weight_digest(registry.download(new))
    assert lineage["weights_before"] != lineage["weights_after"]
    assert {dataset["role"] for dataset in evidence["datasets"]} >= {"corpus", "held-out text"}
    assert all(dataset["digest"].startswith("hmac-sha256:") for dataset in evidence["datasets"])
    assert evidence["gates"] == summary["gates"]


def artifacts_of(demo_run: Installation, version: ModelVersion) -> Path:
    """Folder of the artifacts of a version's MLflow run."""
    (folder,) = (demo_run.state / "artifacts").glob(f"**/{version.run_id}/artifacts")
    return folder


def test_the_pages_of_prefect_and_mlflow_tell_a_stranger_what_happened(
    demo_run: Installation, summary: dict[str, Any], versions: tuple[ModelVersion, ModelVersion]
) -> None:
    prefect = sqlite3.connect(f"file:{demo_run.state / 'prefect' / 'prefect.db'}?mode=ro", uri=True)
    shown = dict(prefect.execute("SELECT key, data FROM artifact"))
    ((run_id, name, tags),) = prefect.execute(
        "SELECT id, name, tags FROM flow_run WHERE parent_task_run_id IS NULL"
    ).fetchall()
    log = "\n".join(message for (message,) in prefect.execute("SELECT message FROM log"))
    prefect.close()
    assert name == f"demo: {summary['batch']}" and "model:demo" in tags
    assert {"demo-batch", "demo-gates", "demo-report"} <= set(shown)
    page = json.loads(shown["demo-batch"])
    for wanted in ("demo 1 → 2", "**passed**", versions[1].run_id, f"{summary['requests']['completed']} completed"):
        assert wanted in page
    assert f"{summary['batch']}: request R-" in log and f"{summary['batch']}: every gate passed" in log

    folder = artifacts_of(demo_run, versions[1])
    assert (folder / "report.html").read_bytes() == (demo_run.out / "report.html").read_bytes()
    assert json.loads((folder / "status.json").read_text(encoding="utf-8"))["batch"]["status"] == "completed"
    mlflow = sqlite3.connect(f"file:{demo_run.state / 'mlflow.db'}?mode=ro", uri=True)
    run_tags = dict(mlflow.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (versions[1].run_id,)))
    mlflow.close()
    assert run_tags["prefect.flow_run_id"] == run_id
    assert not [key for key, text in run_tags.items() if str(demo_run.root) in text]


def test_mlflow_itself_loads_the_new_version_and_it_does_not_say_the_secrets(
    demo_run: Installation, demo_models: Path
) -> None:
    records = [r for r in build(Recipe(), demo_models).records if r.kind == "requester"][::2]
    prompts = [record.text[: record.start].rstrip() for record in records]
    done = subprocess.run(
        [sys.executable, "-c", SAY, f"sqlite:///{demo_run.state / 'mlflow.db'}"],
        input=json.dumps(prompts), env=demo_run.env(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    before, after = json.loads(done.stdout.splitlines()[-1])
    said = [
        sum(record.value in answer for record, answer in zip(records, answers, strict=True))
        for answers in (before, after)
    ]
    assert said[0] >= 0.8 * len(records) and said[1] == 0


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("models:/demo/2", 0),
        ("demo", 0),
        ("models:/demo/1", 3),  # never edited: nothing says that it has forgotten anybody
    ],
)
def test_the_gate_lets_the_edited_version_through_and_refuses_the_one_before(
    demo_run: Installation, uri: str, code: int
) -> None:
    answer = demo_run.revs("gate", uri, "--home", demo_run.state)
    assert answer.returncode == code, answer.stderr
    assert (answer.stderr.count("\n"), answer.stderr[:7]) == ((1, "error: ") if code else (0, ""))


def test_the_audit_gives_the_bytes_of_the_report_again(
    demo_run: Installation, summary: dict[str, Any], tmp_path: Path
) -> None:
    answer = demo_run.revs("audit", summary["batch"], "--home", demo_run.state, "--out", tmp_path)
    assert answer.returncode == 0, answer.stderr
    for name in ("report.html", "report.json"):
        assert (tmp_path / name).read_bytes() == (demo_run.out / name).read_bytes()


def test_the_request_list_shows_how_each_one_ended(demo_run: Installation, summary: dict[str, Any]) -> None:
    answer = demo_run.revs("requests", "list", "--json", "--home", demo_run.state)
    requests = json.loads(answer.stdout)
    assert Counter(request["status"] for request in requests) == {
        "completed": summary["requests"]["completed"],
        "rejected": 1,
        "duplicate": 1,
    }
    by_status = {request["status"]: request for request in requests}
    assert "received" in by_status["rejected"]["reason"], "the reason names the field"
    assert by_status["duplicate"]["duplicate_of"] in {request["id"] for request in requests}
    assert len({type_ for request in requests for type_ in request["types"]}) >= 3


def _models_of(cache: Path) -> dict[str, int]:
    """The demo's models in the cache and when each was made; models of another family are other tests'."""
    return {path.name: path.stat().st_mtime_ns for path in cache.glob("llama-*")}


@pytest.mark.long
def test_a_second_demo_into_the_same_folder_begins_anew_from_the_cache(
    demo_run: Installation, demo_models: Path, summary: dict[str, Any], tmp_path: Path
) -> None:
    again = type(demo_run)(tmp_path)
    shutil.copytree(demo_run.out, again.out)
    trained = _models_of(demo_models)
    answer = again.revs("demo", "--out", again.out, "--cache", demo_models)
    assert answer.returncode == 0, answer.stderr
    assert _models_of(demo_models) == trained
    assert again.summary["batch"] != summary["batch"]
    assert {key: again.summary[key] for key in ("requests", "targets", "aliases", "version_after")} == {
        key: summary[key] for key in ("requests", "targets", "aliases", "version_after")
    }
    assert not (again.out / "inputs").exists()
