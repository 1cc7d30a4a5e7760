"""`revs promote`: a human makes a registered version champion."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.common import Home, Json, answer, settings_of


def promote(
    model_uri: Annotated[str, typer.Argument(help="models:/NAME/3")],
    approved_by: Annotated[
        str | None, typer.Option(help="Who answers for a promotion on insufficient evidence; kept on record.")
    ] = None,
    new_root: Annotated[
        bool, typer.Option("--new-root", help="A base model trained anew, without the data that was erased so far.")
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
    if new_root and approved_by is None:
        raise BadInput("--new-root needs --approved-by: the name of who says that the model lacks what was erased")
    from tasks.versions.promote import declare_new_root, promote_version

    if new_root and approved_by is not None:
        result = declare_new_root(settings, model_uri, approved_by=approved_by)
    else:
        result = promote_version(settings, model_uri, approved_by=approved_by)
    said = f"{result['model']} is champion"
    if result["batch_id"] is not None:
        report = f"; report: {result['report']}" if result["report"] else ""
        said += f"\nbatch {result['batch_id']} {result['status']}{report}"
    answer(result, said, as_json=as_json)
