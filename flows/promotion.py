"""The flow that promotes what a human approved: gates judged from the record, an approval on record, the alias last."""

from __future__ import annotations

from prefect import flow

from tasks.stages.promote import promote_what_was_approved


@flow(name="promote-versions", persist_result=False, validate_parameters=False)
def promote_versions(model: str | None = None) -> list[str]:
    """Promote every candidate that waits and was approved; returns the versions.

    What waits stands in the request store: no run is suspended meanwhile, and none is needed for an approval to last.

    Args:
        model: registered name; None: all models.

    Raises:
        OperationFailed: a candidate was approved and could not be promoted.
    """
    promoted: list[str] = promote_what_was_approved(model=model)
    return promoted
