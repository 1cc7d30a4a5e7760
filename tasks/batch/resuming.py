"""What a new run makes of what earlier runs left: whether an open batch can go on, and what closed ones still owe.

The champion may have been moved by hand while a batch was open:

    champion now                     the batch
    the version it was made from     goes on, unless its candidate was promoted before and somebody moved the alias back
    its own candidate                goes on: it was cut off after the promotion
    anything else                    is given up: its candidate must not replace what it was never compared with

Of a batch that is given up the requests wait again, and the next batch is made from the champion that there is.
"""

from __future__ import annotations

from typing import Literal

from infra.batches.records import PromotedVersion
from infra.batches.workspace import Workspace
from infra.registry import ModelVersion
from infra.requests import Batch, BatchHeld, Reason, RequestStore
from infra.settings import Settings
from revs.errors import RevsError
from tasks.versions.audit import audit_batch

REPORT_OWED = "report.owed"
"""The event of a closed batch whose report could not be written; its working folder stays."""


def reason_to_give_up(settings: Settings, batch: Batch, champion: ModelVersion) -> str | None:
    """Return why an open batch cannot go on with this champion; None where it can."""
    promoted = Workspace(settings.work_dir, batch.id).read(PromotedVersion) is not None
    if champion.tags.get("revs.batch_id") == batch.id or (champion.uri == batch.source and not promoted):
        return None
    if promoted:
        return f"its candidate was promoted, and the champion was moved to {champion.uri} afterwards"
    return f"it was made from {batch.source}, and the champion was moved to {champion.uri} meanwhile"


def give_up(
    settings: Settings,
    store: RequestStore,
    batch_id: str,
    reason: str,
    *,
    requests: Literal["received", "failed"] = "received",
    force: bool = False,
) -> None:
    """Close a batch that is open, or waits for a decision, as abandoned; its unfinished work goes.

    Args:
        settings: of this installation.
        store: its request store.
        batch_id: the batch.
        reason: why, for the audit log and, where they are failed, for the requests.
        requests: what becomes of those that were in work: wait for the next batch, or for a human.
        force: take it from a run that still works on it, whose writes are refused from then on.

    Raises:
        BadInput: the batch has ended in another way.
        BatchHeld: another run works on it.
    """
    batch, lease = store.batch(batch_id), store.hold(batch_id, force=force)
    try:
        if requests == "failed" and batch.status == "open":
            for request_id in store.identifiers(batch_id):
                store.fail(request_id, Reason("given_up", {"batch": batch_id}))
        store.close_batch(batch_id, status="abandoned", outcome=batch.outcome | {"reason": reason})
        if requests == "received" and batch.status == "waiting":
            for view in store.list(batch_id=batch_id, status="failed"):
                store.retry(view.id)
        lease.check()
        Workspace(settings.work_dir, batch_id).remove()
    finally:
        lease.release()


def finish_closed(settings: Settings, store: RequestStore, model: str) -> None:
    """Do what a run that was cut off after closing its batch still owes: the report, and the end of the working folder.

    A report that cannot be written is noted and left for a human; the other batches of the model go on.
    """
    for batch in store.batches(model):
        workspace = Workspace(settings.work_dir, batch.id)
        if batch.status == "open" or not workspace.folder.is_dir():
            continue
        try:
            lease = store.hold(batch.id)
        except BatchHeld:  # its own run is about to do that
            continue
        if owed(settings, store, batch) is None:
            workspace.remove()
        lease.release()


def owed(settings: Settings, store: RequestStore, batch: Batch) -> str | None:
    """Write the report of a closed batch, if it has evidence; return why it cannot be written, once also to the log."""
    if "evidence" not in batch.outcome:
        return None
    try:
        audit_batch(settings, batch.id, None)
    except RevsError as error:
        reason = str(error)
    except Exception as error:  # its text is not ours, and may show what it was given
        reason = f"{type(error).__name__} while the report was written"
    else:
        return None
    if report_owed(store, batch.id) != reason:
        store.record(REPORT_OWED, batch_id=batch.id, detail={"reason": reason})
    return reason


def report_owed(store: RequestStore, batch_id: str) -> str | None:
    """Return why the report of a closed batch could not be written, as noted last; None where nothing was noted."""
    noted = [event.detail["reason"] for event in store.events(batch_id=batch_id) if event.event == REPORT_OWED]
    return str(noted[-1]) if noted else None
