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


def test_a_dataset_says_honestly_that_it_is_kept_elsewhere(
    registry: Registry, register: Callable[..., ModelVersion]
) -> None:
    import mlflow

    datasets = [{"name": "corpus", "role": "corpus", "rows": 12, "digest": "sha256:" + "ab" * 32}]
    run = registry._client.get_run(register(lineage={"datasets": datasets}).run_id)
    source = mlflow.data.get_source(run.inputs.dataset_inputs[0].dataset)
    assert "stand-in" in source.to_dict()["tags"]["note"]


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
        registry.attach(version, {"status.json": text})
    assert document(registry._client.get_run(version.run_id), "status.json") == b"completed"
    assert registry.evidence(version) is not None
