"""`revs batches`: list, show, resume and abandon batches of deletion requests."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from flows.cli.common import Home, Json, answer, console, emit, settings_of, showing_stages, table
from flows.cli.process import show_processed
from flows.cli.requests import store_of

if TYPE_CHECKING:
    from infra.requests import Batch, RequestStore

app = typer.Typer(help="List, show, resume and abandon batches of deletion requests.", no_args_is_help=True)


@app.command("list")
def list_batches(
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    status: Annotated[str | None, typer.Option(help="Only with this status, e.g. open, waiting, completed.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List batches, oldest first, with the one that each is a half of, if any, and who works on them.

    Example: revs batches list --status open
    """
    from typing import get_args

    from infra.requests import BatchStatus
    from revs.errors import BadInput

    if status is not None and status not in get_args(BatchStatus):
        raise BadInput(f"status {status!r} is unknown; choose one of {', '.join(get_args(BatchStatus))}")
    store = store_of(settings_of(home))
    found = [_row(store, batch) for batch in store.batches(model) if status in (None, batch.status)]
    if as_json:
        emit(found)
    else:
        table("batches", found)


def _row(store: RequestStore, batch: Batch) -> dict[str, Any]:
    holder = store.holder(batch.id)
    return {
        "id": batch.id,
        "model": batch.model,
        "status": batch.status,
        "parent": batch.parent,
        "opened": batch.opened_at.isoformat(timespec="seconds"),
        "requests": len(batch.request_ids),
        "holder": f"process {holder.pid} on {holder.host}" if holder else None,
    }


@app.command()
def show(batch_id: str, home: Home = None, as_json: Json = False) -> None:
    """Show a batch: its requests, what became of each identifier, how far it is, its halves, and what it still owes.

    Example: revs batches show B-20261128-0a1b2c
    """
    from infra.batches.workspace import Workspace
    from infra.requests.outcomes import described
    from tasks.batch.resuming import report_owed

    settings = settings_of(home)
    store = store_of(settings)
    batch, workspace = store.batch(batch_id), Workspace(settings.work_dir, batch_id)
    facts = _row(store, batch) | {
        "source": batch.source,
        "closed": batch.closed_at and batch.closed_at.isoformat(timespec="seconds"),
        "reason": batch.outcome.get("reason"),
        "halves": [each.id for each in store.batches(batch.model) if each.parent == batch_id],
        "report owed": report_owed(store, batch_id) if workspace.folder.is_dir() else None,
        "stages": _stages(workspace.stages()),
    }
    requests = [
        {
            "id": view.id,
            "status": view.status,
            "due": view.due,
            "lot": view.lot,
            "reason": str(view.reason) if view.reason else None,
        }
        for view in store.list(batch_id=batch_id)
    ]
    outcomes = [asdict(outcome) for outcome in store.outcomes(batch_id=batch_id)]
    if as_json:
        emit(facts | {"requests": requests, "outcomes": outcomes})
        return
    for name, value in facts.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        console().print(f"{name:<12} {shown if shown is not None else ''}", soft_wrap=True)
    table("requests", requests)
    table("identifiers", [row | {"detail": described(row["kind"], row["detail"])} for row in outcomes])


def _stages(recorded: list[str]) -> list[str]:
    """The stages that are done; the shards of a large corpus, each of which has a record, as a number."""
    shards = sum(stage.startswith("shard-") for stage in recorded)
    done = [stage for stage in recorded if not stage.startswith("shard-")]
    return [*done, *([f"{shards} shards searched"] if shards else [])]


@app.command()
def resume(batch_id: str, home: Home = None, as_json: Json = False) -> None:
    """Go on with an open batch where it was cut off, or with the halves of a split one that wait.

    Example: revs batches resume B-20261128-0a1b2c
    """
    from revs.errors import BadInput

    settings = settings_of(home)
    store = store_of(settings)
    batch = store.batch(batch_id)
    halves_wait = batch.status == "split" and store.parent_of_next(batch.model) is not None
    if batch.status != "open" and not halves_wait:
        raise BadInput(f"batch {batch_id} is {batch.status}; only an open one can be resumed, see 'revs batches list'")
    from flows.process import process_deletion_requests

    with showing_stages(quiet=as_json):
        done = process_deletion_requests(batch.model)
    if as_json:
        emit(asdict(done) if done else {"batch_id": batch_id, "status": store.batch(batch_id).status})
    elif done:
        show_processed(done)


@app.command()
def abandon(
    batch_id: str,
    requests: Annotated[
        str, typer.Option(help="What becomes of its requests: received (wait for the next batch) or failed (a human).")
    ] = "received",
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log. No personal data.")] = "given up by hand",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Even while a run works on it; that one is stopped.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Give up a batch that is open or waits for a decision; its requests and their payloads stay.

    Example: revs batches abandon B-20261128-0a1b2c --yes
    """
    from infra.requests import BatchHeld
    from revs.errors import BadInput
    from tasks.batch.resuming import give_up

    if requests not in ("received", "failed"):
        raise BadInput(f"--requests {requests!r} is unknown; choose received or failed")
    settings = settings_of(home)
    store = store_of(settings)
    batch = store.batch(batch_id)
    if batch.status not in ("open", "waiting"):
        halves = "; its halves go on by themselves, with REVS_BATCH_HALVING=0 they are not halved further"
        raise BadInput(
            f"batch {batch_id} is {batch.status}; only one that is open or waiting can be given up"
            f"{halves if batch.status == 'split' else ''}"
        )
    _confirm(f"give up batch {batch_id} of {batch.model} with {len(batch.request_ids)} requests?", yes=yes)
    try:
        fate = cast("Literal['received', 'failed']", requests)
        give_up(settings, store, batch_id, reason, requests=fate, force=force)
    except BatchHeld as held:
        raise BatchHeld(f"{held}; --force takes it away from that run") from None
    said = f"batch {batch_id} is abandoned; 'revs requests list' shows its requests"
    answer(_row(store, store.batch(batch_id)), said, as_json=as_json)


def _confirm(question: str, *, yes: bool) -> None:
    from revs.errors import BadInput

    if yes:
        return
    if not sys.stdin.isatty():
        raise BadInput("nobody can be asked without a terminal; add --yes to go on")
    if not typer.confirm(question):
        raise BadInput("nothing was done; answer yes, or add --yes, to go on")
