"""`revs promote`: a human makes a registered version champion."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from flows.cli.common import Home, Json, TokenFile, answer, settings_of, token_in


def promote(
    model_uri: Annotated[
        str | None, typer.Argument(help="models:/NAME/3; with --approved a registered name, or nothing: all models.")
    ] = None,
    approved_by: Annotated[
        str | None, typer.Option(help="Who answers for a promotion on insufficient evidence; kept on record.")
    ] = None,
    token_file: TokenFile = None,
    new_root: Annotated[
        bool, typer.Option("--new-root", help="A base model trained anew, without the data that was erased so far.")
    ] = False,
    approved: Annotated[
        bool, typer.Option("--approved", help="Every candidate that waits and was approved over the service.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make a registered version champion; exit 3 when a gate refuses.

    A candidate that waits for a human: its gates are judged again from the record, then the alias moves and its batch
    is completed. A version that was champion before: the alias moves back to it, if it lacks no completed erasure.

    Example: revs promote models:/support-bot/4 --approved-by 'A. Officer'
    """
    from revs.errors import BadInput

    settings = settings_of(home)
    token = token_in(token_file)
    if approved:
        if new_root or approved_by is not None or token is not None:
            raise BadInput(
                "--approved promotes what others approved; leave out --approved-by, --token-file, --new-root"
            )
        if model_uri is not None and "/" in model_uri:
            raise BadInput(
                f"--approved {model_uri!r}: it takes the registered name of a model, such as 'demo', or none"
            )
        _promote_approved(settings, model_uri, as_json=as_json)
        return
    if model_uri is None:
        raise BadInput("no version was named; give models:/NAME/3, or --approved for all that were approved")
    if new_root and approved_by is None and token is None:
        raise BadInput("--new-root needs --approved-by: the name of who says that the model lacks what was erased")
    from tasks.versions.promote import declare_new_root, promote_version

    make = declare_new_root if new_root else promote_version
    result = make(settings, model_uri, approved_by=approved_by, token=token)
    said = f"{result['model']} is champion"
    if result["batch_id"] is not None:
        report = f"; report: {result['report']}" if result["report"] else ""
        said += f"\nbatch {result['batch_id']} {result['status']}{report}"
    answer(result, said, as_json=as_json)


def _promote_approved(settings: Any, model: str | None, *, as_json: bool) -> None:
    from dataclasses import asdict

    from revs.errors import GateRefused
    from tasks.versions.waiting import promote_approved

    found = promote_approved(settings, model)
    said = "\n".join(each.said for each in found) or "no candidate waits"
    answer([asdict(each) for each in found], said, as_json=as_json)
    if refused := [each.version for each in found if each.state == "refused"]:
        raise GateRefused(f"{len(refused)} of {len(found)} were not promoted: {', '.join(refused)}; see above")
