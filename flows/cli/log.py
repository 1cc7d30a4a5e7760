"""`revs log`: whether the audit log is as it was written, and its end, to be kept elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import Home, Json, answer, console, settings_of
from flows.cli.requests import store_of

app = typer.Typer(help="Check the audit log, and keep its end elsewhere.", no_args_is_help=True)


@app.command()
def verify(
    heads: Annotated[
        Path | None, typer.Option(help="File of ends that were noted; default: REVS_LOG_HEADS.", show_default=False)
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Read the whole audit log and say what was changed, moved, put in, taken out or cut off; exit 1 if anything was.

    Example: revs log verify --heads /mnt/elsewhere/log-heads.jsonl
    """
    from infra.requests.heads import noted, read
    from revs.errors import OperationFailed

    settings = settings_of(home)
    store = store_of(settings)
    ends = read(heads) if heads else noted(settings.log_heads)
    problems = store.log_problems(ends)
    count = store.log_head().count if not problems else None
    noted_ends = f"{len(ends)} ends noted elsewhere" if ends else "no end noted elsewhere to compare with"
    if as_json or not problems:
        text = f"{count} events, all as they were written; {noted_ends}"
        answer({"events": count, "heads": len(ends), "problems": problems}, text, as_json=as_json)
    else:
        for problem in problems:
            console().print(problem, style="red", markup=False)
    if problems:
        raise OperationFailed(
            f"the audit log is not as it was written, or the tables are not as it says ({len(problems)} findings): do "
            "not rely on them, restore the request store from a backup and find out who had access"
        )


@app.command()
def head(
    append: Annotated[Path | None, typer.Option(help="Add it to this file, which lies elsewhere.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Print the end of the audit log: how many events there are, and the MAC of the last. It tells nothing of anybody.

    Example: revs log head --append /mnt/elsewhere/log-heads.jsonl
    """
    from infra.requests import heads

    found = store_of(settings_of(home)).log_head()
    if append is not None:
        heads.append(append, found)
    answer(asdict(found), f"{found.count} {found.mac}", as_json=as_json)
