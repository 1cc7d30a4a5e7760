"""Not of a batch: the candidates that wait for a human."""

from __future__ import annotations

from infra.settings import load_settings
from revs.errors import OperationFailed
from tasks.batch.stage import run_log, stage
from tasks.versions.waiting import promote_approved


@stage("promote approved", long=True)
def promote_what_was_approved(model: str | None = None) -> list[str]:
    """Promote the candidates that were approved, say of the others why they wait; returns the versions promoted.

    Raises:
        OperationFailed: one was approved and could not be promoted; the others were.
    """
    found = promote_approved(load_settings(), model)
    for each in found:
        run_log().info("%s", each.said)
    if refused := [each.said for each in found if each.state == "refused"]:
        raise OperationFailed("; ".join(refused))
    return [each.version for each in found if each.state == "promoted"]
