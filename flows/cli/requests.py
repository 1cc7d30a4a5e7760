"""`revs requests`: hand in, list, show and retry deletion requests."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.common import Home, Json, answer, console, emit, settings_of, table

if TYPE_CHECKING:
    from infra.registry import Registry
    from infra.requests import Intake, RequestStore, RequestView
    from infra.settings import Settings

_NAMED_AT_MOST = 10

app = typer.Typer(help="Hand in, list, show and retry deletion requests.", no_args_is_help=True)


def store_of(settings: Settings, *, stay_connected: bool = False) -> RequestStore:
    """The request store of the installation; `stay_connected`: its database connections are kept."""
    from infra.requests import RequestStore

    return RequestStore.from_settings(settings, stay_connected=stay_connected)


def hand_in(settings: Settings, file: str, model: str, *, again: bool = False) -> Intake:
    """Take the requests of a file for a registered model; where none is registered yet, they wait for it.

    Raises:
        BadInput: the file is none, there is no such model beside those that are registered, or nothing was accepted.
    """
    return hand_in_bytes(settings, read_request_file(file), file, model, again=again)


def read_request_file(file: str) -> bytes:
    """Return the bytes of a request file, or of standard input."""
    from infra.requests.intake import read_source

    return read_source(file)


def hand_in_bytes(settings: Settings, data: bytes, name: str, model: str, *, again: bool = False) -> Intake:
    """Take what a request file holds; otherwise as `hand_in`."""
    from infra.registry.generation import generation_of
    from infra.requests.rows import new_request_id
    from revs.errors import BadInput

    registry = registry_of(settings)
    names = registry.names() if registry else []
    if names and model not in names:
        raise BadInput(f"model {model!r} is not registered; name one of these with --model: {', '.join(names)}")

    def generation(asked: str) -> str:
        return generation_of(registry, asked) if registry and names else ""

    return store_of(settings).add_bytes(
        data, name=name, model=model, generation=new_request_id() if again else generation, models=names or None
    )


def registry_of(settings: Settings) -> Registry | None:
    """The registry; one of our own that was never used is not made just to find it empty."""
    from infra.registry import open_registry

    if settings.mlflow_tracking_uri is None and not (settings.home / "mlflow.db").exists():
        return None
    return open_registry(settings)


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
    shred: Annotated[
        bool, typer.Option("--shred", help="Overwrite and remove the file once it is stored; on SSDs no proof.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Hand in the requests of a file. The same file again adds nothing, unless the model was trained again since.

    With --shred the plain file is overwritten and removed after it was stored. On SSDs, on file systems that copy on
    write, and where there are snapshots or backups, its bytes may stay all the same.

    Example: revs requests add requests.jsonl --model support-bot
    """
    from revs.errors import BadInput

    if shred and file == "-":
        raise BadInput("--shred destroys a file, and standard input is none; name the file, or leave --shred out")
    settings = settings_of(home)
    data = read_request_file(file)
    intake = hand_in_bytes(settings, data, file, model, again=again)
    if as_json:
        fields = ("received", "accepted", "rejected", "duplicates", "known")
        emit({name: getattr(intake, name) for name in fields})
    else:
        _show_intake(intake)
        if intake.accepted and registry_of(settings) is None:
            console().print(f"no model is registered here yet; the requests wait until {model!r} is")
    refuse_if_nothing_came_in(intake, file)
    _refuse_what_has_ended(intake, file)
    if shred:
        _destroy(file, data)


def _refuse_what_has_ended(intake: Intake, file: str) -> None:
    """End with an error where the file was handed in before, and not all of its requests are worked on or fulfilled.

    Raises:
        BadInput: it is so.
    """
    from revs.errors import BadInput

    if ended := intake.ended_unfulfilled:
        some = ", ".join(ended[:_NAMED_AT_MOST]) + (", …" if len(ended) > _NAMED_AT_MOST else "")
        raise BadInput(f"{file} was handed in before, and {some} ended withdrawn or refused: --again takes it as new")


def _show_intake(intake: Intake) -> None:
    if intake.known:
        states = Counter(each.status for each in intake.requests)
        told = ", ".join(f"{count} {status}" for status, count in sorted(states.items()))
        console().print(f"handed in before, nothing was added: {told}")
    else:
        console().print(
            f"{intake.received} received: {len(intake.accepted)} accepted, {len(intake.rejected)} rejected, "
            f"{len(intake.duplicates)} duplicates"
        )
    show_rejected(intake)


def _destroy(file: str, data: bytes) -> None:
    from pathlib import Path

    from infra.requests.wiping import wipe

    wipe(Path(file), data)


@app.command()
def collect(
    inbox: Annotated[
        str | None, typer.Option(help="Folder or address, such as s3://bucket/prefix; default: REVS_INBOX.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Take the request files that other systems put into the inbox; every scheduled run does the same.

    Each is taken once and moved to taken/ beside it (or destroyed: REVS_INBOX_TAKEN=shred), or to refused/ with one
    line that says why. Names that begin with a dot or end in .part or .tmp are left.

    Example: revs requests collect --inbox /srv/revs/inbox
    """
    from revs.errors import BadInput, OperationFailed
    from tasks.batch.inbox import collect as look
    from tasks.batch.inbox import summary

    settings = settings_of(home)
    address = inbox or settings.inbox
    if address is None:
        raise BadInput("no inbox is named; set REVS_INBOX to a folder or an address, or give --inbox")
    found = look(settings, address)
    answer(asdict(found), summary(found), as_json=as_json)
    if found.stuck:
        raise OperationFailed(
            f"{found.stuck} files of the inbox could not be read, moved or destroyed: see your rights there; what was "
            "stored of them is not stored again"
        )
    if found.refused:
        raise BadInput(f"{found.refused} files were refused; they lie in refused/ of the inbox, each with its reason")


def show_rejected(intake: Intake) -> None:
    """A line for each rejected request; the reason names it."""
    for _, reason in intake.rejected:
        console().print(f"rejected {reason}", style="yellow")


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
        emit([_whole(view) for view in views])
        return
    table("deletion requests", [_row(view) for view in views])


def _whole(view: RequestView) -> dict[str, Any]:
    from infra.requests.reasons import in_words

    return asdict(view) | in_words(view.reason)


def _row(view: RequestView) -> dict[str, Any]:
    return {
        "id": view.id,
        "model": view.model,
        "status": view.status,
        "due": view.due,
        "types": ", ".join(view.types),
        "batch": view.batch_id,
        "reason": str(view.reason) if view.reason else None,
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
    parts = store.parts(request_id)
    if as_json:
        whole = {**_whole(view), "identifiers": [asdict(part) for part in parts]}
        emit(
            {
                **whole,
                "outcomes": [asdict(outcome) for outcome in store.outcomes(request_id)],
                "events": [asdict(event) for event in events],
            }
        )
        return
    for name, value in _facts(view).items():
        console().print(f"{name:<15} {value if value is not None else ''}", soft_wrap=True)
    if parts:
        table(
            "identifiers",
            [
                {"number": part.number, "type": part.type, "kind": part.kind, "why": described(part.kind, part.detail)}
                for part in parts
            ],
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

    facts = {name: value for name, value in _whole(view).items() if name != "policy"}
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
