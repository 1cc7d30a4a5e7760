"""What the request store's log and batches say of the versions of one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from infra.registry import ModelVersion
from infra.requests import Batch, RequestStore
from infra.requests.records import Event
from tasks.versions.lineage import NEW_ROOT_DECLARED, REGISTERED, version_made_by

MADE_CHAMPION: Final = (
    "version.promoted", "version.reinstated", "version.rolled_back", "version.restored", "version.first",
    NEW_ROOT_DECLARED,
)  # fmt: skip
"""The events of a version that became champion."""
RETIRED: Final = "version.retired"


@dataclass(frozen=True)
class OnRecord:
    """The second record of a model's versions, which nobody changes through the registry."""

    store: RequestStore
    model: str

    @cached_property
    def batches(self) -> Sequence[Batch]:
        """All batches of the model."""
        return self.store.batches(self.model)

    def batch_of(self, version: ModelVersion) -> Batch | None:
        """The batch that made a version; None where none of this installation did."""
        return next((batch for batch in self.batches if version_made_by(batch) == version.version), None)

    def registered(self, version: ModelVersion) -> list[Event]:
        """The events of its registration."""
        return [event for event in self._registered if self._is(event, version)]

    def knows(self, version: ModelVersion) -> bool:
        """Whether this installation has anything on record of a version."""
        return bool(self.registered(version)) or self.batch_of(version) is not None

    def retired_on(self, version: ModelVersion) -> str | None:
        """ISO date on which its files were deleted, by the log."""
        found = [event for event in self.store.events(event=RETIRED) if self._is(event, version)]
        return str(found[-1].detail.get("on") or found[-1].at.date().isoformat()) if found else None

    def approvers(self, version: ModelVersion) -> list[str]:
        """Who answered for it, oldest first."""
        named = (event.detail.get("approved_by") for event in self._champions if self._is(event, version))
        return [str(name) for name in named if name is not None]

    def champions(self) -> tuple[str | None, frozenset[str]]:
        """URI of the version that was made champion last, and those of the bases that were registered after that.

        A base may become champion when it is registered, without another event.
        """
        last = self._champions[-1] if self._champions else None
        later = (event for event in self._registered if last is None or event.id > last.id)
        bases = frozenset(str(event.detail["version"]) for event in later if event.detail.get("evidence") is None)
        return None if last is None else str(last.detail["version"]), bases

    @cached_property
    def _registered(self) -> list[Event]:
        return self._of_the_model(REGISTERED)

    @cached_property
    def _champions(self) -> list[Event]:
        return sorted(
            (event for kind in MADE_CHAMPION for event in self._of_the_model(kind)), key=lambda event: event.id
        )

    def _of_the_model(self, kind: str) -> list[Event]:
        begin = f"models:/{self.model}/"
        return [e for e in self.store.events(event=kind) if str(e.detail.get("version", "")).startswith(begin)]

    @staticmethod
    def _is(event: Event, version: ModelVersion) -> bool:
        return event.detail.get("version") == version.uri
