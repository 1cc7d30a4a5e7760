"""The report as a door of its own: written again from the record, after checking the record against the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.registry.records import STATUS, SUPERSEDED
from infra.report import write_report
from infra.settings import Settings
from revs.errors import BadInput
from tasks.batch.stage import open_registry, open_store
from tasks.versions.lineage import require_on_record


def audit_batch(settings: Settings, batch_id: str, folder: Path | None, *, read_weights: bool = True) -> dict[str, Any]:
    """Write the report of a closed batch.

    Args:
        settings: the installation.
        batch_id: the batch.
        folder: where to; None: below the installation's reports.
        read_weights: whether the stored weights are digested again, which the caller may just have done.

    Raises:
        BadInput: no such batch, or it has no evidence on record yet.
        OperationFailed: the request store and the registry disagree on what was measured, or the stored files changed.
    """
    store = open_store(settings)
    batch = store.batch(batch_id)
    evidence = batch.outcome.get("evidence")
    if evidence is None:
        raise BadInput(
            f"batch {batch_id} is {batch.status} and has no evidence on record; a report follows its closing"
        )
    if (uri := evidence["model"]["uri_after"]) is not None:
        registry = open_registry(settings)
        version = registry.resolve(uri)
        # What the registry keeps with the version, bytes included, must be what the request store has on record.
        require_on_record(store, version, registry.evidence(version))
        retired = version.tags.get(STATUS) == SUPERSEDED and not registry.stored_files(version)
        if read_weights and not retired:  # of a version that was retired the record is all there is
            registry.download(version)
        else:
            registry.verify(version)
    path = write_report(evidence, folder or settings.home / "reports" / batch_id)
    return {"batch_id": batch_id, "status": batch.status, "report": str(path)}
