"""`revs notices`: tell people what happened to requests."""

from __future__ import annotations

from dataclasses import asdict

import typer

from flows.cli.common import Home, Json, console, emit, settings_of
from flows.cli.requests import store_of

app = typer.Typer(help="Tell people what happened to requests (REVS_NOTICES).", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Tell people what happened to requests (REVS_NOTICES)."""


@app.command()
def send(home: Home = None, as_json: Json = False) -> None:
    """Send what places were not told yet; exit 1 if one did not take it. Every look for requests does the same.

    Example: REVS_NOTICES='jsons://hooks.example.com/revs' revs notices send
    """
    from infra import notices
    from revs.errors import BadInput, OperationFailed
    from tasks.batch.notify import refused

    settings = settings_of(home)
    if settings.notices is None:
        raise BadInput("no place is named that could be told; set REVS_NOTICES to one or more Apprise addresses")
    sent = notices.send(store_of(settings), settings.notices.get_secret_value(), settings.webhook_secrets)
    if as_json:
        emit([asdict(each) for each in sent])
    else:
        for each in sent:
            what = f"told of {each.events} events" if each.taken else f"did not take a notice of {each.events} events"
            console().print(f"{each.place}: {what}")
    if problem := refused(sent):
        raise OperationFailed(problem)
