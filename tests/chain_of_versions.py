"""A home with a chain of three versions as batches make it, and copies of it that can be spoiled; no tests here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registered import POLICY, REQUEST, closed, evidence_of

if TYPE_CHECKING:
    import pytest

    from infra.registry import ModelVersion, Registry
    from infra.requests import RequestStore
    from infra.settings import Settings

IDENTIFIER = "wren@example.com"
SECRETS = (IDENTIFIER, "customer wren", "people-of-wren", "wren")
"""What no output may show: the request's identifier and subject, and the name of the corpus."""


def build(home: Path, checkpoint: Path, empty_database: Path, patch: pytest.MonkeyPatch) -> None:
    """Register a base and let two batches edit it, with all that the pipeline puts on record of them."""
    from tasks.versions.registering import register_model

    settings, store, registry = opened(home, patch, empty_database)
    corpus = store.keep_address("/data/people-of-wren/corpus.txt")
    register_model(settings, checkpoint, name="demo", corpus=corpus, tags={})
    folder = checkpoint
    for number in (2, 3):
        edited = shutil.copytree(folder, home / "edited" / str(number))
        flip(edited / "model.safetensors", -8 * number)
        batch(registry, store, folder, edited, corpus)
        folder = edited
    store.close()
    shutil.rmtree(home / "edited")


def opened(
    home: Path, patch: pytest.MonkeyPatch, empty_database: Path | None = None
) -> tuple[Settings, RequestStore, Registry]:
    """An installation; promotion asks for efficacy alone."""
    from infra.gates.policy import GatePolicy
    from infra.settings import load_settings
    from tasks.batch.stage import open_registry, open_store

    patch.setattr(GatePolicy, "DEFAULT", GatePolicy.from_dict(POLICY))
    patch.setenv("REVS_HOME", str(home))
    settings = load_settings()
    if empty_database is not None:
        shutil.copyfile(empty_database, settings.home / "mlflow.db")
    return settings, open_store(settings), open_registry(settings)


def copied(template: Path, home: Path, patch: pytest.MonkeyPatch) -> tuple[Settings, RequestStore, Registry]:
    """A copy of a home, opened."""
    copy_registry(template, home)
    return opened(home, patch)


def copy_registry(template: Path, home: Path) -> None:
    """Copy a folder with a registry, into one that may be there."""
    shutil.copytree(template, home, dirs_exist_ok=True)


def batch(registry: Registry, store: RequestStore, before: Path, after: Path, corpus: str) -> ModelVersion:
    """One whole batch: what the stages register, log and record, without the edit."""
    from infra.registry import changed_tensors, weight_digest
    from tasks.versions.lineage import registered_detail
    from tasks.versions.served import PROMOTED, REGISTERED

    champion = registry.champion("demo")
    store.add(REQUEST | {"subject": f"customer wren {champion.version}"}, model="demo")
    opened = store.open_batch(model="demo", corpus=corpus, source=champion.uri)
    assert opened is not None
    views = store.list(batch_id=opened.id)
    data = {"name": "ab12" * 16, "role": "corpus", "rows": 12_480, "digest": "cd34" * 16, "reference": corpus}
    scores = {"before": {"efficacy": 3.25}, "after": {"efficacy": 95.0}, "decoys_after": {"efficacy": 96.5}}
    evidence = evidence_of(
        "demo",
        before=champion.version,
        weights_before=str(champion.weights),
        weights_after=weight_digest(after),
        datasets=[data, data | {"name": f"sample of {data['name']}", "role": "text for perplexity", "rows": 200}],
        scores=scores,
        versions={"revs": "0.1.0", "torch": "2.13.0", "python": "3.11.9"},
        requests=[{"id": view.id, "subject": view.subject, "digest": view.digest} for view in views],
    )
    lineage: dict[str, Any] = {
        "requests": [view.digest for view in views],
        "config": {"ridge": 0.1},
        "code_commit": "9c1f2ab34de0578f6a1b2c3d4e5f60718293a4b5",
        "weights_before": champion.weights,
        "weights_after": weight_digest(after),
        "datasets": evidence["datasets"],
        "patch": changed_tensors(before, after),
        "corpus": corpus,
    }
    version = registry.register_candidate(
        after, parent=champion, batch_id=opened.id, lineage=lineage, metrics=scores["after"], evidence=evidence
    )
    store.record(REGISTERED, batch_id=opened.id, detail=registered_detail(version))
    registry.promote(version, expected_champion=champion)
    store.record(PROMOTED, batch_id=opened.id, detail={"version": version.uri, "instead_of": champion.uri})
    store.close_batch(opened.id, status="completed", outcome={"evidence": closed(evidence, version.version)})
    return version


def flip(path: Path, place: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
