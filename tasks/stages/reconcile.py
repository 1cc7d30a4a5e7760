"""Not of a batch: the hourly look at what serves."""

from __future__ import annotations

from infra.settings import load_settings
from revs.errors import OperationFailed
from tasks.batch.stage import stage
from tasks.versions.guard import reconcile


@stage("compare champions", long=True)
def compare_champions() -> list[str]:
    """Compare the champions with the log; returns the versions to which aliases were moved back.

    Raises:
        OperationFailed: what is wrong and still is.
    """
    settings = load_settings()
    found = reconcile(settings, restore=settings.alias_moved == "restore")
    if problems := [problem for each in found for problem in each.problems]:
        raise OperationFailed("; ".join(problems))
    return [each.restored for each in found if each.restored is not None]
