"""`revs retire`: superseded versions whose period has ended lose their bytes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.common import By, Home, Json, answer, console, emit, settings_of, table, who_decides

if TYPE_CHECKING:
    from tasks.versions.retention import Standing
    from tasks.versions.retire import Desk


def retire(
    model: Annotated[str | None, typer.Option(help="Only versions of this model.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Delete; without it nothing is changed.")] = False,
    hold: Annotated[
        str | None, typer.Option(help="Put this version under legal hold, models:/NAME/3: it stays.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Of --hold, for the audit log; name no person in it.")] = None,
    release: Annotated[str | None, typer.Option(help="Lift the legal hold of this version.")] = None,
    by: By = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Show which versions would lose their bytes and why, and which stay and why; with --apply delete them for good.

    Versions that were superseded go when their period ends, candidates that nobody promoted after the same time, and so
    do leftovers of registrations that were killed. Exit 1 where bytes are left that had to go.

    Example: revs retire --apply
    """
    from revs.errors import BadInput

    if (hold is None) != (reason is None):
        raise BadInput("--hold and --reason go together: which version, and why it has to stay; give both or neither")
    if sum(each for each in (apply, hold is not None, release is not None)) > 1:
        raise BadInput("--apply, --hold and --release are three things: give one of them")
    settings = settings_of(home)
    from tasks.versions import retire as tasks

    desk = tasks.Desk.of(settings)
    if hold is not None and reason is not None:
        uri = tasks.hold(desk, hold, reason=reason, by=who_decides(by))
        answer({"version": uri, "held": True}, f"{uri} is under legal hold: its bytes stay", as_json=as_json)
    elif release is not None:
        uri = tasks.release(desk, release, by=who_decides(by))
        answer({"version": uri, "held": False}, f"{uri} is under no legal hold any more", as_json=as_json)
    elif apply:
        _apply(desk, model, as_json=as_json)
    else:
        _show(tasks.plan(desk, model), as_json=as_json)


def _apply(desk: Desk, model: str | None, *, as_json: bool) -> None:
    from revs.errors import OperationFailed
    from tasks.versions.retire import apply, plan

    done = apply(desk, model)
    if as_json:
        emit(asdict(done) | {"stays": [asdict(each) for each in plan(desk, model)]})
    else:
        for what in done.retired:
            console().print(f"{what} is retired: its bytes are gone, and that was verified", soft_wrap=True)
        console().print(f"{len(done.retired)} retired")
    if done.problems:
        raise OperationFailed("; ".join(done.problems))


def _show(found: list[Standing], *, as_json: bool) -> None:
    if as_json:
        emit([asdict(each) for each in found])
        return
    table("would go", [{"what": each.what, "why": each.why} for each in found if each.goes])
    table("stays", [{"what": each.what, "why": each.why} for each in found if not each.goes])
    if any(each.goes for each in found):
        console().print("nothing was deleted; 'revs retire --apply' deletes what would go, for good")
