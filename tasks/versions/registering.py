"""Registers a model that nobody edited yet, and writes down what it was and whether it serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.registry import ModelVersion
from infra.settings import Settings
from tasks.batch.stage import open_registry, open_store
from tasks.versions.lineage import keep_on_record
from tasks.versions.served import FIRST, last_served


def register_model(
    settings: Settings, folder: Path, *, name: str, corpus: str, tags: Mapping[str, Any]
) -> ModelVersion:
    """Register a folder as a base version; see `Registry.register_base`, of which these are the arguments."""
    registry, store = open_registry(settings), open_store(settings)
    with store.moving_alias(name):
        before = registry.alias(name) if name in registry.names() else None
        version = registry.register_base(folder, name=name, corpus=corpus, tags=tags)
        keep_on_record(store, version)
        began = before != version.version or last_served(store, name) is None
        if began and registry.alias(name) == version.version:
            store.record(FIRST, detail={"version": version.uri})
        return version
