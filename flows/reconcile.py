"""The hourly flow by which an alias is found that somebody else moved."""

from __future__ import annotations

from prefect import flow

from tasks.stages.reconcile import compare_champions


@flow(name="reconcile-registry", persist_result=False)
def reconcile_registry() -> list[str]:
    """Compare the champions with the audit log; returns the versions to which aliases were moved back.

    Raises:
        OperationFailed: a champion is not what the log says, was changed, or lacks an erasure.
    """
    restored: list[str] = compare_champions()
    return restored
