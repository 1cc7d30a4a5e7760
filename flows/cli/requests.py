"""`revs requests`: hand in, list, show and retry deletion requests."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.common import Home, Json, answer, console, emit, settings_of, table

if TYPE_CHECKING:
    from infra.registry import Registry
    from infra.requests import Intake, RequestStore, RequestView
    from infra.settings import Settings

app = typer.Typer(help="Hand in, list, show and retry deletion requests.", no_args_is_help=True)


def store_of(settings: Settings) -> RequestStore:
    """The request store of the installation."""
    from infra.requests import RequestStore

    return RequestStore.from_settings(settings)


def hand_in(settings: Settings, file: str, model: str, *, again: bool = False) -> Intake:
    """Take the requests of a file for a registered model; where none is registered yet, they wait for it.

    Raises:
        BadInput: the file is none, there is no such model beside those that are registered, or nothing was accepted.
    """
    from revs.errors import BadInput

    registry = registry_of(settings)
    names = registry.names() if registry else []
    if names and model not in names:
        raise BadInput(f"model {model!r} is not registered; name one of these with --model: {', '.join(names)}")
    generation = generation_of(registry, model) if registry and names else ""
    return store_of(settings).add_file(file, model=model, generation=generation, again=again, models=names or None)


def registry_of(settings: Settings) -> Registry | None:
    """The registry; one of our own that was never used is not made just to find it empty."""
    from infra.registry import Registry

    if settings.mlflow_tracking_uri is None and not (settings.home / "mlflow.db").exists():
        return None
    return Registry(settings.tracking_uri, settings.artifact_uri)


def generation_of(registry: Registry, model: str) -> str:
    """The number of the version that was trained, from which the champion was made edit by edit."""
    from revs.errors import BadInput

    oldest = ""
    with suppress(BadInput):  # no champion yet, or the version is retired: its number still stands in its successor
        version = registry.champion(model)
        oldest = version.version
        while parent := version.tags.get("revs.parent"):
            oldest = parent
            version = registry.resolve(f"models:/{model}/{parent}")
    return oldest


def refuse_if_nothing_came_in(intake: Intake, file: str) -> None:
    """End with an error where no request of the file was taken.

    Raises:
        BadInput: each was rejected.
    """
    from revs.errors import BadInput

    if not intake.accepted and not intake.duplicates:
        raise BadInput(
            f"{file} holds no request that can be taken, {len(intake.rejected)} rejected: correct them and hand them "
            "in again; 'revs requests list --status rejected' shows the reasons"
        )


@app.command()
def add(
    file: Annotated[str, typer.Argument(help="Request file, JSON Lines or CSV; - reads standard input.")],
    model: Annotated[str, typer.Option(help="Registered model of requests that name none.")] = "demo",
    again: Annotated[
        bool, typer.Option("--again", help="Take the file as new, though the same file was handed in before.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Hand in the requests of a file. The same file again adds nothing, unless the model was trained again since.

    Example: revs requests add requests.jsonl --model support-bot
    """
    settings = settings_of(home)
    intake = hand_in(settings, file, model, again=again)
    if as_json:
        emit(asdict(intake))
    else:
        out = console()
        out.print(
            f"{intake.received} received: {len(intake.accepted)} accepted, {len(intake.rejected)} rejected, "
            f"{len(intake.duplicates)} duplicates"
        )
        show_rejected(intake)
        if intake.accepted and registry_of(settings) is None:
            out.print(f"no model is registered here yet; the requests wait until {model!r} is", markup=False)
    refuse_if_nothing_came_in(intake, file)


def show_rejected(intake: Intake) -> None:
    """A line for each rejected request; the reason names it."""
    for _, reason in intake.rejected:
        console().print(f"rejected {reason}", style="yellow", markup=False)


@app.command("list")
def list_requests(
    model: Annotated[str | None, typer.Option(help="Only of this model.")] = None,
    case: Annotated[str | None, typer.Option(help="Only of this case: one demand, of each of its models.")] = None,
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
    views = store_of(settings_of(home)).list(model=model, status=cast("RequestStatus | None", status), case_id=case)
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
    """Show one request and its history (what, when, by whom and why), without its identifiers.

    Example: revs requests show R-0a1b2c3d
    """
    from infra.requests.history import line
    from infra.requests.outcomes import described

    store = store_of(settings_of(home))
    view, events = store.get(request_id), store.events(request_id=request_id)
    outcomes = [asdict(outcome) for outcome in store.outcomes(request_id)]
    if as_json:
        emit({**asdict(view), "outcomes": outcomes, "events": [asdict(event) for event in events]})
        return
    for name, value in _facts(view).items():
        console().print(f"{name:<15} {value if value is not None else ''}", markup=False, soft_wrap=True)
    if outcomes:
        shown = ("number", "type", "kind")
        table(
            "identifiers",
            [{name: row[name] for name in shown} | {"why": described(row["kind"], row["detail"])} for row in outcomes],
        )
    table(
        "history",
        [
            {
                "at": each.at.isoformat(timespec="seconds"),
                "event": each.event,
                "by": each.by,
                "why": each.why,
                "batch": each.batch_id,
            }
            for each in map(line, events)
        ],
    )


def _facts(view: RequestView) -> dict[str, Any]:
    """The fields of a request for people: of its frozen policy what it asks for, and by when."""
    from infra.requests.regimes import frozen

    facts = {name: value for name, value in asdict(view).items() if name != "policy"}
    policy = frozen(view.policy)
    if policy is None:
        return facts
    if by := policy.acknowledge_by(view.received):
        facts["acknowledge_by"] = by
    return facts | {"regime": f"{view.regime} ({policy.name}: {policy.statute}); {policy.decides} decides"}


@app.command("drop-digests")
def drop_digests(home: Home = None, as_json: Json = False) -> None:
    """Delete the keyed digests of what was erased (REVS_KEEP_DIGESTS); `revs scan --erased` then knows of none.

    Batches that complete while the setting is on keep digests again.

    Example: revs requests drop-digests
    """
    from infra.requests.outcomes import plural

    dropped = store_of(settings_of(home)).drop_digests()
    answer({"dropped": dropped}, f"{plural(dropped, 'digest')} dropped", as_json=as_json)
