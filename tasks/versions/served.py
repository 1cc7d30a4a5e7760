"""Which version of a model serves, by the request store's log: whoever can write to the registry can move its alias."""

from __future__ import annotations

from typing import Final

from infra.registry import ModelVersion, Registry, records
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
_BECAME_CHAMPION = frozenset({PROMOTED, REINSTATED, NEW_ROOT_DECLARED, ROLLED_BACK, RESTORED, FIRST})


def last_served(store: RequestStore, name: str) -> str | None:
    """The URI of the version that was made champion last; None of a model that this installation never served."""
    found = [
        (event.id, str(event.detail.get("version"))) for kind in _BECAME_CHAMPION for event in store.events(event=kind)
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


def ever_served(store: RequestStore, version: ModelVersion) -> bool:
    """Whether it was champion by the log, or may have been before the log told of it: a base on record is believed."""
    kinds = _BECAME_CHAMPION if records.PARENT in version.tags else _BECAME_CHAMPION | {REGISTERED}
    return any(event.detail.get("version") == version.uri for kind in kinds for event in store.events(event=kind))
