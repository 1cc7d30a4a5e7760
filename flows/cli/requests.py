"""`revs requests`: hand in, list, show and retry deletion requests."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.common import Home, Json, console, emit, settings_of, table

if TYPE_CHECKING:
    from pathlib import Path

    from infra.requests import RequestStore, RequestView

app = typer.Typer(help="Hand in, list, show and retry deletion requests.", no_args_is_help=True)


def _store(home: Path | None) -> RequestStore:
    from infra.requests import RequestStore
    from infra.vault import Vault

    settings = settings_of(home)
    return RequestStore(settings.requests_url, Vault.from_settings(settings), settings.request_days)


@app.command()
def add(
    file: Annotated[str, typer.Argument(help="Request file, JSON Lines or CSV; - reads standard input.")],
    model: Annotated[str, typer.Option(help="Registered model of requests that name none.")] = "demo",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Hand in the requests of a file. Handing in the same file again adds nothing.

    Example: revs requests add requests.jsonl --model support-bot
    """
    intake = _store(home).add_file(file, model=model)
    if as_json:
        emit(asdict(intake))
        return
    out = console()
    out.print(
        f"{intake.received} received: {len(intake.accepted)} accepted, {len(intake.rejected)} rejected, "
        f"{len(intake.duplicates)} duplicates"
    )
    for request_id, reason in intake.rejected:
        out.print(f"rejected {request_id}: {reason}", style="yellow", markup=False)


@app.command("list")
def list_requests(
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    status: Annotated[str | None, typer.Option(help="Only with this status, e.g. received, completed, failed.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List requests, due first; pseudonyms only.

    Example: revs requests list --status failed
    """
    from typing import cast, get_args

    from infra.requests import RequestStatus
    from revs.errors import BadInput

    if status is not None and status not in get_args(RequestStatus):
        raise BadInput(f"status {status!r} is unknown; choose one of {', '.join(get_args(RequestStatus))}")
    views = _store(home).list(model=model, status=cast("RequestStatus | None", status))
    if as_json:
        emit([asdict(view) for view in views])
        return
    table("deletion requests", [_row(view) for view in views])


def _row(view: RequestView) -> dict[str, Any]:
    return {
        "id": view.id,
        "model": view.model,
        "status": view.status,
        "due": view.due,
        "types": ", ".join(view.types),
        "batch": view.batch_id,
        "reason": view.reason,
    }


@app.command()
def show(request_id: str, home: Home = None, as_json: Json = False) -> None:
    """Show one request and its history, without its identifiers.

    Example: revs requests show R-0a1b2c3d
    """
    store = _store(home)
    view, events = store.get(request_id), store.events(request_id=request_id)
    if as_json:
        emit({**asdict(view), "events": [asdict(event) for event in events]})
        return
    for name, value in asdict(view).items():
        console().print(f"{name:<13} {value if value is not None else ''}", markup=False)
    table(
        "history",
        [
            {"at": event.at.isoformat(timespec="seconds"), "event": event.event, "batch": event.batch_id}
            for event in events
        ],
    )


@app.command()
def retry(request_ids: list[str], home: Home = None) -> None:
    """Put failed requests back in line, after their cause was mended.

    Example: revs requests retry R-0a1b2c3d R-4e5f6a7b
    """
    store = _store(home)
    for request_id in request_ids:
        store.retry(request_id)
    console().print(f"{len(request_ids)} back in line")
