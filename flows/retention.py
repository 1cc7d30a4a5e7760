"""The daily flow by which superseded versions lose their bytes."""

from __future__ import annotations

from prefect import flow

from tasks.stages.retire import retire_due


@flow(name="retire-versions", persist_result=False)
def retire_versions() -> list[str]:
    """Delete the bytes of every version whose period has ended; returns which went.

    Raises:
        OperationFailed: bytes are left that had to go; the next run goes on.
    """
    gone: list[str] = retire_due()
    return gone
