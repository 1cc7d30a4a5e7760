"""What a model was trained as: the version from which its champion was made, edit by edit."""

from __future__ import annotations

from contextlib import suppress

from infra.registry.registry import Registry
from revs.errors import BadInput


def generation_of(registry: Registry, model: str) -> str:
    """Return the number of the version that was trained; empty where there is no champion yet."""
    oldest = ""
    with suppress(BadInput):  # no champion yet, or the version is retired: its number still stands in its successor
        version = registry.champion(model)
        oldest = version.version
        while parent := version.tags.get("revs.parent"):
            oldest = parent
            version = registry.resolve(f"models:/{model}/{parent}")
    return oldest
