"""What the request store's log and batches say of the versions of one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from infra.registry import ModelVersion
from infra.requests import Batch, RequestStore
from infra.requests.records import Event
from tasks.versions.lineage import version_made_by
from tasks.versions.served import BECAME_CHAMPION, REGISTERED, REPORTED, RETIRED_EVENT, last_served


@dataclass(frozen=True)
class OnRecord:
    """The second record of a model's versions, which nobody changes through the registry."""

    store: RequestStore
    model: str

    @cached_property
    def batches(self) -> Sequence[Batch]:
        """All batches of the model."""
        return self.store.batches(self.model)

    @cached_property
    def champion(self) -> str | None:
        """URI of the version that was made champion last; None where this installation never served the model."""
        return last_served(self.store, self.model)

    def batch_of(self, version: ModelVersion) -> Batch | None:
        """The batch that made a version; None where none of this installation did."""
        return next((batch for batch in self.batches if version_made_by(batch) == version.version), None)

    def registered(self, version: ModelVersion) -> list[Event]:
        """The events of its registration."""
        return self._of(version, REGISTERED)

    def knows(self, version: ModelVersion) -> bool:
        """Whether this installation has anything on record of a version."""
        return bool(self.registered(version)) or self.batch_of(version) is not None

    def retired_on(self, version: ModelVersion) -> str | None:
        """ISO date on which its files were deleted, by the log."""
        found = self._of(version, RETIRED_EVENT)
        return str(found[-1].detail.get("on") or found[-1].at.date().isoformat()) if found else None

    def report(self, version: ModelVersion) -> str | None:
        """Digest of the signed list of the report that was kept with it last; None where none was, or none signed."""
        found = self._of(version, REPORTED)
        return found[-1].detail.get("list") if found else None

    def approvers(self, version: ModelVersion) -> list[str]:
        """Who answered for it, oldest first."""
        named = (event.detail.get("approved_by") for event in self._of(version, *BECAME_CHAMPION))
        return [str(name) for name in named if name is not None]

    def _of(self, version: ModelVersion, *kinds: str) -> list[Event]:
        """The events of these kinds that name a version, oldest first."""
        events = (event for kind in kinds for event in self.store.events(event=kind))
        return sorted((e for e in events if e.detail.get("version") == version.uri), key=lambda event: event.id)
