"""`revs log`: whether the audit log is as it was written, and its end, to be kept elsewhere."""

from __future__ import annotations

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
    from infra.requests import timestamps
    from infra.requests.heads import noted, read
    from revs.errors import OperationFailed

    settings = settings_of(home)
    store = store_of(settings)
    begun = any(batch.closed_at for batch in store.batches())
    ends = read(heads) if heads else noted(settings.log_heads, begun=begun)
    problems = [*store.log_problems(ends), *timestamps.problems(ends, settings.timestamp_certificate)]
    count = store.log_head().count if not problems else None
    stamped = sum(each.timestamp is not None for each in ends)
    checked = "checked" if settings.timestamp_certificate else "not checked (REVS_TIMESTAMP_CERTIFICATE)"
    noted_ends = f"{len(ends)} ends noted elsewhere" if ends else "no end noted elsewhere to compare with"
    noted_ends += f", {stamped} of them with a timestamp, {checked}" if stamped else ""
    if as_json or not problems:
        text = f"{count} events, all as they were written; {noted_ends}"
        answer({"events": count, "heads": len(ends), "problems": problems}, text, as_json=as_json)
    else:
        for problem in problems:
            console().print(problem, style="red")
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
    """Print the end of the audit log: number of events, MAC of the last, and the root that stands for all of them.

    It tells nothing of anybody. The root is that of a Merkle tree (RFC 9162) over the lines of `revs log export`.

    Example: revs log head --append /mnt/elsewhere/log-heads.jsonl
    """
    from infra.requests import timestamps

    settings = settings_of(home)
    found = store_of(settings).log_head()
    if append is not None:
        timestamps.note(append, found, timestamps.Authority.of(settings))
    shown = {"count": found.count, "mac": found.mac, "size": found.size, "root": found.root}
    answer(shown, f"{found.count} {found.mac} {found.root}", as_json=as_json)


@app.command()
def export(
    out: Annotated[
        Path | None, typer.Option(help="File to write; default: standard output.", show_default=False)
    ] = None,
    home: Home = None,
) -> None:
    """Print the audit log, one JSON line an event, byte for byte what the root stands for; no identifier, no secret.

    Example: revs log export --out log.jsonl
    """
    from revs.errors import BadInput

    lines = store_of(settings_of(home)).log_lines()
    text = "".join(f"{line}\n" for line in lines)
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="ascii")
    except OSError as error:
        raise BadInput(f"{out} cannot be written ({error.strerror}); name a file in a folder that is there") from None
    answer({"events": len(lines)}, f"{len(lines)} events in {out}", as_json=False)


@app.command()
def prove(
    event: Annotated[int, typer.Argument(help="Id of an event, or with --beginning the count of an earlier end.")],
    at: Annotated[
        int | None, typer.Option(help="Count of the end to prove it against; default: the log as it is.")
    ] = None,
    beginning: Annotated[bool, typer.Option("--beginning", help="Prove that the log began as it ended then.")] = False,
    home: Home = None,
) -> None:
    """Print a proof, as JSON, that an event is in the log, or that the log as it was is the beginning of what it is.

    Who checks it (`revs log check`) needs neither the store nor a key, only a root that was noted.

    Example: revs log prove 17 --at 40
    """
    from flows.cli.common import emit

    store = store_of(settings_of(home))
    emit(store.prove_beginning(event, upto=at) if beginning else store.prove(event, upto=at))


@app.command()
def check(
    proof: Annotated[Path, typer.Argument(help="File that `revs log prove` printed.")],
    heads: Annotated[Path | None, typer.Option(help="File of ends that were noted: the roots must be in it.")] = None,
    as_json: Json = False,
) -> None:
    """Check a proof of `revs log prove`; needs neither the store nor a key. Exit 1 if it does not hold.

    Example: revs log check proof.json --heads /mnt/elsewhere/log-heads.jsonl
    """
    from infra.requests import published
    from infra.requests.heads import read
    from revs.errors import OperationFailed

    found = published.parsed(proof)
    if not published.holds(found):
        raise OperationFailed(f"{proof} does not hold: what it says is not in a log with its root; do not rely on it")
    if heads is not None and not published.is_against(found, read(heads)):
        raise OperationFailed(
            f"{proof} holds, but not against what was noted in {heads}: ask for a proof against an end that is in it, "
            "with --at"
        )
    against = f"; noted in {heads}" if heads else "; compare size and root with those that were noted"
    said = f"event {found['index'] + 1} of" if found["proves"] == "inclusion" else f"the first {found['first']} of"
    answer(
        found | {"holds": True}, f"holds: {said} {found['size']} events, root {found['root']}{against}", as_json=as_json
    )
