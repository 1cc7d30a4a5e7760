"""Not of a batch: the daily retirement of versions whose period has ended."""

from __future__ import annotations

from infra.settings import load_settings
from revs.errors import OperationFailed
from tasks.batch.stage import stage
from tasks.versions.retire import Desk, apply


@stage("retire versions", long=True)
def retire_due() -> list[str]:
    """Delete the bytes of every version whose period has ended; returns which went.

    Raises:
        OperationFailed: bytes are left that had to go; the next run goes on.
    """
    done = apply(Desk.of(load_settings()))
    if done.problems:
        raise OperationFailed("; ".join(done.problems))
    return list(done.retired)
