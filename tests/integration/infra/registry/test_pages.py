"""What the pages of MLflow tell of a version: description, card, example, data, policy, outcome; and few tags."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from registered import GOOD, POLICY, document

from infra.registry import ModelVersion, Registry


def test_a_candidate_carries_the_tags_that_are_read_and_no_others(register: Callable[..., ModelVersion]) -> None:
    lineage = {"requests": ["aa"], "config": {"method": "revs"}, "seed": 7, "code_commit": "c0ffee", "corpus": "ref:1"}
    tags = register(lineage=lineage).tags
    assert set(tags) == {f"revs.{name}" for name in (
        "key", "status", "weights", "files", "parent", "batch_id", "evidence", "corpus", "signer",
    )}  # fmt: skip
    assert tags["revs.corpus"] == "ref:1"


def test_the_pages_of_mlflow_tell_what_a_version_is(
    registry: Registry, base: ModelVersion, register: Callable[..., ModelVersion], tmp_path: Path
) -> None:
    client = registry._client
    scores = {"before": {"efficacy": 3.25}, "after": {"efficacy": 95.0}}
    evidence = GOOD | {"scores": scores, "targets": {"memorised_before": 9, "memorised_after": 0}}
    run = {"id": "7f0c", "page": "https://prefect.example.com/runs/flow-run/7f0c"}
    version = register(evidence=evidence, metrics={"efficacy": 95.0}, run=run)

    said = client.get_model_version("demo", version.version).description
    for wanted in (
        "Made from version 1 by batch `b1`",
        "Memorised contexts: 9 before, 0 after",
        "[7f0c](https://prefect.example.com/runs/flow-run/7f0c)",
        "| efficacy | 3.25 | 95 |",
        "| efficacy | 95 | ≥ 90 | passed |",
    ):
        assert wanted in said
    assert "champion" in client.get_registered_model("demo").description
    assert "no gate judged it" in client.get_model_version("demo", base.version).description
    shown = client.get_run(version.run_id)
    assert shown.data.tags["mlflow.note.content"] == said
    assert (shown.data.tags["prefect.flow_run_id"], shown.data.tags["prefect.flow_run_url"]) == (run["id"], run["page"])
    assert not [name for name, text in shown.data.tags.items() if str(tmp_path) in text]
    compared = {
        "efficacy": 95.0,
        "before/efficacy": 3.25,
        "contexts/memorised_before": 9,
        "contexts/memorised_after": 0,
    }
    assert shown.data.metrics == compared
    assert json.loads(document(shown, "policy.json")) == POLICY

    registry.promote(version, expected_champion=base)
    registry.promote(version, expected_champion=base)
    assert client.get_model_version("demo", version.version).description == f"{said}\nBecame champion by its gates.\n"


def test_a_description_fits_every_store_of_mlflow() -> None:
    from infra.registry.describing import candidate

    many = {f"metric_{number}": 1 / (number + 1) for number in range(900)}
    text = candidate("1", "b1", GOOD | {"scores": {"before": many, "after": many}}, {})
    assert len(text) <= 4_500 and "| efficacy | 95 | ≥ 90 | passed |" in text


def test_a_dataset_says_by_which_reference_its_owner_opens_it(
    registry: Registry, register: Callable[..., ModelVersion]
) -> None:
    import mlflow

    digest = "sha256:" + "ab" * 32
    known = {"name": "corpus", "role": "corpus", "rows": 12, "digest": digest, "reference": "address-0a1b"}
    datasets = [known, {"name": "older", "role": "text", "digest": digest}]
    run = registry._client.get_run(register(lineage={"datasets": datasets}).run_id)
    said = {
        each.dataset.name: mlflow.data.get_source(each.dataset).to_dict()["tags"] for each in run.inputs.dataset_inputs
    }
    assert (said["corpus"]["reference"], said["corpus"]["digest"]) == ("address-0a1b", digest)
    assert "stays where its owner keeps it" in said["older"]["note"] and "reference" not in said["older"]


def test_each_metric_of_the_stored_model_names_the_data_it_was_measured_on(
    registry: Registry, register: Callable[..., ModelVersion]
) -> None:
    datasets = [
        {"name": "people", "role": "corpus", "rows": 12, "digest": "sha256:" + "ab" * 32},
        {"name": "news", "role": "held-out text", "rows": 9, "digest": "sha256:" + "cd" * 32},
    ]
    metrics = {"efficacy": 95.0, "perplexity_ratio": 1.001}
    version = register(lineage={"datasets": datasets}, metrics=metrics)
    run = registry._client.get_run(version.run_id)
    (output,) = run.outputs.model_outputs
    found = {each.key: each for each in registry._client.get_logged_model(output.model_id).metrics}
    assert {key: (each.dataset_name, each.dataset_digest) for key, each in found.items()} == {
        "efficacy": ("people", "ab" * 18), "perplexity_ratio": ("news", "cd" * 18),
    }  # fmt: skip
    assert {tag: value for tag, value in run.data.metrics.items() if tag in metrics} == metrics


def test_the_model_comes_with_a_card_and_an_example(registry: Registry, base: ModelVersion) -> None:
    folder = registry.download(base).parent
    assert "no gate judged it" in (folder / "model_card.md").read_text(encoding="utf-8")
    from mlflow.models import Model

    model = Model.load(str(folder))
    assert model.load_input_example(str(folder)) == "The weather in the valley was mild and"
    assert model.signature.inputs.input_types()[0].name == "string"


def test_the_outcome_of_a_batch_is_stored_with_its_run(
    registry: Registry, register: Callable[..., ModelVersion]
) -> None:
    version = register()
    for text in (b"waiting", b"completed"):
        registry.attach_report(version, {"status.json": text})
    assert document(registry._client.get_run(version.run_id), "status.json") == b"completed"
    assert registry.evidence(version) is not None
