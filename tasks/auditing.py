"""The report as a door of its own: written again from the record, after checking the record against the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.report import write_report
from infra.settings import Settings
from revs.errors import BadInput, OperationFailed
from tasks.stage import open_registry, open_store


def audit_batch(settings: Settings, batch_id: str, folder: Path | None) -> dict[str, Any]:
    """Write the report of a closed batch.

    Raises:
        BadInput: no such batch, or it has no evidence on record yet.
        OperationFailed: the request store and the registry disagree on what was measured.
    """
    batch = open_store(settings).batch(batch_id)
    evidence = batch.outcome.get("evidence")
    if evidence is None:
        raise BadInput(
            f"batch {batch_id} is {batch.status} and has no evidence on record; a report follows its closing"
        )
    _compare(settings, evidence)
    path = write_report(evidence, folder or settings.home / "reports" / batch_id)
    return {"batch_id": batch_id, "status": batch.status, "report": str(path)}


def _compare(settings: Settings, evidence: dict[str, Any]) -> None:
    """What the registry keeps with the version must say the same as the request store's record."""
    uri = evidence["model"]["uri_after"]
    if uri is None:
        return
    registry = open_registry(settings)
    registered = registry.evidence(registry.resolve(uri)) or {}
    differing = [part for part in ("scores", "gates", "edit", "datasets") if registered.get(part) != evidence[part]]
    if differing:
        raise OperationFailed(
            f"the record of batch {evidence['batch']['id']} and the evidence of {uri} differ in "
            f"{', '.join(differing)}: one was changed afterwards; do not rely on either before that is cleared up"
        )
