"""The daily flow by which superseded versions lose their bytes."""

from __future__ import annotations

from prefect import flow
from prefect.logging import get_run_logger

from infra.settings import load_settings
from revs.errors import OperationFailed
from tasks.versions.retire import Desk, apply


@flow(name="retire-versions", persist_result=False)
def retire_versions() -> list[str]:
    """Delete the bytes of versions whose period has ended; returns which went.

    Raises:
        OperationFailed: bytes are left that had to go; the next run goes on.
    """
    done = apply(Desk.of(load_settings()))
    for what in done.retired:
        get_run_logger().info("%s: retired, its bytes are gone", what)
    if done.problems:
        raise OperationFailed("; ".join(done.problems))
    return list(done.retired)
