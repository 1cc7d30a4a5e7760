"""`revs rollback`: the version that was champion before serves again."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.common import Home, Json, TokenFile, answer, settings_of, token_in


def rollback(
    model_uri: Annotated[str, typer.Argument(help="The champion that is taken back: models:/NAME/3.")],
    approved_by: Annotated[str | None, typer.Option(help="Who answers for it; kept on record. Needed.")] = None,
    token_file: TokenFile = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also to a version that still holds what was erased; needs --reason.")
    ] = False,
    reason: Annotated[
        str | None, typer.Option(help="Why it must serve all the same: one line for the audit log that names nobody.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Make the version that was champion before champion again; exit 3 where it still holds what was erased.

    The version taken back keeps its files and is then called `previous`; 'revs promote' brings it back.

    Example: revs rollback models:/support-bot/4 --approved-by 'A. Officer'
    """
    from revs.errors import BadInput

    if force != (reason is not None):
        raise BadInput("--force and --reason go together: a version that still holds what was erased needs a reason")
    settings = settings_of(home)
    from tasks.versions.rollback import roll_back

    result = roll_back(settings, model_uri, approved_by=approved_by, reason=reason, token=token_in(token_file))
    said = f"version {result['champion']} of {result['model']} is champion, version {result['previous']} is previous"
    if result["lacks"]:
        said += (
            f"\nit still holds what was erased by {', '.join(result['lacks'])}: no batch runs on it; make version "
            f"{result['previous']} champion again with 'revs promote models:/{result['model']}/{result['previous']}'"
        )
    answer(result, said, as_json=as_json)
