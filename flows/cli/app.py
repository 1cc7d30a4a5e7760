"""The `revs` command: which commands there are, and how every error ends."""

from __future__ import annotations

import os
import sys

import typer

from flows.cli import batches, bench, decisions, keys, log, notices, requests, service
from flows.cli.audit import audit
from flows.cli.demo import demo
from flows.cli.doctor import doctor
from flows.cli.due import acknowledge, due, export_drop, extend
from flows.cli.expectations import expectations
from flows.cli.export_lora import export_lora
from flows.cli.gate import gate
from flows.cli.process import process
from flows.cli.promote import promote
from flows.cli.reconcile import reconcile
from flows.cli.rollback import rollback
from flows.cli.scan import scan
from flows.cli.serve import serve
from revs.errors import RevsError

app = typer.Typer(
    name="revs",
    help="Erase memorised personal data from language models: requests in, a gated model version and a report out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they show local variables, and those may hold personal data
    rich_markup_mode=None,
)
for decision in (
    decisions.verify, decisions.withdraw, decisions.hold, decisions.release, decisions.retry, decisions.accept,
    decisions.refuse, decisions.narrow,
):  # fmt: skip
    requests.app.command()(decision)
for command in (
    demo, process, gate, promote, rollback, reconcile, export_lora, audit, scan, serve, doctor, expectations,
):  # fmt: skip
    app.command()(command)
app.add_typer(bench.app, name="bench")
for of_requests in (due, extend, acknowledge, export_drop):
    requests.app.command()(of_requests)
app.add_typer(requests.app, name="requests")
app.add_typer(batches.app, name="batches")
app.add_typer(log.app, name="log")
app.add_typer(keys.app, name="keys")
app.add_typer(notices.app, name="notices")
app.add_typer(service.app, name="service")


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 the surroundings failed, 2 bad input, 3 a gate refused."""
    try:
        app()
    except RevsError as error:
        _end(str(error), error.exit_code)
    except KeyboardInterrupt:
        _end("interrupted; nothing is lost: run the same command again, it resumes", 130)
    except Exception as error:
        if os.environ.get("REVS_DEBUG"):
            raise
        _end(
            f"{type(error).__name__} in the program; set REVS_DEBUG=1 for the traceback, which may show personal data",
            1,
        )


def _end(message: str, code: int) -> None:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.exit(code)
