"""Which version of a model serves, by the request store's log: whoever can write to the registry can move its alias."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from infra.registry import ModelVersion, Registry
from infra.requests import RequestStore
from revs.errors import BadInput

REGISTERED: Final = "version.registered"
"""The event of a version that was registered here, with who signed it: nobody changes that through the registry."""
PROMOTED: Final = "version.promoted"
REINSTATED: Final = "version.reinstated"
NEW_ROOT_DECLARED: Final = "version.new_root"
"""The event of a version that a human declared a new root; its tag alone, which anybody may set, says nothing."""
ROLLED_BACK: Final = "version.rolled_back"
RESTORED: Final = "version.restored"
"""The event of an alias that was moved by somebody else, and back by the guard."""
FIRST: Final = "version.first"
"""The event of a base that became champion when it was registered."""
RETIRED_EVENT: Final = "version.retired"
"""The event of a version whose bytes are gone: the day, and how their absence was verified."""
REPORTED: Final = "version.reported"
"""The event of a report that was kept with a version: the digest of its signed list."""
BECAME_CHAMPION: Final = frozenset({PROMOTED, REINSTATED, NEW_ROOT_DECLARED, ROLLED_BACK, RESTORED, FIRST})


def last_served(store: RequestStore, name: str) -> str | None:
    """The URI of the version that was made champion last; None of a model that this installation never served."""
    found = [
        (event.id, str(event.detail.get("version"))) for kind in BECAME_CHAMPION for event in store.events(event=kind)
    ]
    mine = [(number, uri) for number, uri in found if uri.rpartition("/")[0] == f"models:/{name}"]
    return max(mine)[1] if mine else None


def serving(registry: Registry, store: RequestStore, name: str) -> ModelVersion | None:
    """The version that was made champion last; by the alias where no log tells, None where there is none.

    A run that was cut off behind the alias finds the version that served before it.
    """
    try:
        return registry.resolve(last_served(store, name) or name)
    except BadInput:
        return None


def served_models(store: RequestStore) -> list[str]:
    """Names of the models of which this installation made a version champion."""
    uris = (str(event.detail.get("version")) for kind in BECAME_CHAMPION for event in store.events(event=kind))
    return sorted({uri.removeprefix("models:/").rpartition("/")[0] for uri in uris})


def ever_served(store: RequestStore, version: ModelVersion) -> bool:
    """Whether it was champion by the log, or by a batch that edited it: a batch edits what serves."""
    said = any(
        event.detail.get("version") == version.uri for kind in BECAME_CHAMPION for event in store.events(event=kind)
    )
    return said or any(batch.source == version.uri for batch in store.batches(version.name))


def registered_here(store: RequestStore, version: ModelVersion, *, by: Collection[str] | None = None) -> bool:
    """Whether the log says that this installation registered the version, with these weights.

    Args:
        store: of the installation.
        version: as registered now.
        by: ids of the batches of which one has to have done it; None: whoever it was.
    """
    return any(
        event.detail.get("version") == version.uri and event.detail.get("weights") == version.weights
        for event in store.events(event=REGISTERED)
        if by is None or event.batch_id in by
    )
