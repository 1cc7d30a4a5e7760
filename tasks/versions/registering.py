"""Registers a model that nobody edited yet, and writes down what it was and whether it serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.registry import ModelVersion, Registry
from infra.registry.records import PARENT
from infra.requests import RequestStore
from infra.settings import Settings
from tasks.batch.evidence import made_with
from tasks.batch.stage import open_registry, open_store
from tasks.versions.lineage import keep_on_record
from tasks.versions.served import FIRST, REGISTERED, last_served


def register_model(
    settings: Settings, folder: Path, *, name: str, corpus: str, tags: Mapping[str, Any]
) -> ModelVersion:
    """Register a folder as a base version; see `Registry.register_base`, of which these are the arguments.

    It becomes champion where the model never had one, by the log and not by the alias, which anybody may delete; or
    where it mends files of the base that serves, whose weights it has. With `REVS_APPROVER_ROLE` the latter needs
    'revs promote --new-root' and a token.
    """
    registry, store = open_registry(settings), open_store(settings)
    with store.moving_alias(name):
        before = registry.alias(name) if name in registry.names() else None
        served = last_served(store, name)
        first = served is None and not store.batches(name)
        mends = served == f"models:/{name}/{before}" and settings.approver_role is None
        version = registry.register_base(
            folder, name=name, corpus=corpus, tags=tags, lineage=made_with(), may_serve=first or mends
        )
        keep_on_record(store, version)
        serves = registry.alias(name) == version.version and served != version.uri
        if serves and (first or (settings.approver_role is None and _is_base_of(registry, store, served, version))):
            store.record(FIRST, detail={"version": version.uri})
        return version


def _is_base_of(registry: Registry, store: RequestStore, served: str | None, version: ModelVersion) -> bool:
    """Whether what served is a base with the weights of the version, by the log; of older ones by the registry."""
    if served is None:
        return False
    logged = [event for event in store.events(event=REGISTERED) if event.detail.get("version") == served]
    if logged:
        return all(each.batch_id is None and each.detail.get("weights") == version.weights for each in logged)
    before = registry.resolve(served)
    return PARENT not in before.tags and before.weights == version.weights
