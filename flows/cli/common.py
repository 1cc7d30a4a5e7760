"""What commands share: options, output for people and for machines, progress on the terminal."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from infra.settings import Settings

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document for machines and nothing else.")]
Home = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of this installation; default: REVS_HOME or ~/.revs.", show_default=False),
]
By = Annotated[
    str | None, typer.Option("--by", help="Who decides, for the audit log; default: the user of this process.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help="File with the token of who approves, where REVS_APPROVER_ROLE asks for one."),
]
MAX_NAME = 200


def who_decides(by: str | None) -> str:
    """Return the name that was given, or the user whom the system knows; LOGNAME could say anything.

    Raises:
        BadInput: the name is empty, too long or not printable.
    """
    from revs.errors import BadInput

    if by is None:
        import psutil

        return str(psutil.Process().username())
    name = by.strip()
    if not name:
        raise BadInput("--by is empty; name who decides, or leave it out")
    if not name.isprintable() or len(name) > MAX_NAME:  # it stands in the audit log for good
        raise BadInput(f"--by holds control characters, or more than {MAX_NAME}; give the name of who decides")
    return name


def token_in(file: Path | None) -> str | None:
    """Return the token that a file holds; None where no file was named.

    Raises:
        BadInput: the file cannot be read, or is no text.
    """
    from revs.errors import BadInput

    if file is None:
        return None
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "no text"
        raise BadInput(f"--token-file {file} cannot be read ({why}); name a file with a token alone") from None


def console() -> Console:
    from rich.console import Console

    # Off a terminal nobody sees a right margin, and an id that is cut is no id. No markup: a name may hold brackets.
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 160)


def settings_of(home: Path | None) -> Settings:
    """Settings of the installation, with Prefect and the stages pointed to it."""
    from infra.running.prefect_settings import prepare
    from infra.settings import load_settings

    settings = load_settings(home)
    prepare(settings)
    return settings


def model_cache(folder: Path | None) -> Path:
    """Where trained development models are kept: the folder that was named, or the user's cache."""
    from platformdirs import user_cache_path

    return folder or user_cache_path("revs") / "models"


def emit(document: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(json.dumps(document, indent=1, default=str) + "\n")


def answer(document: Any, text: str, *, as_json: bool) -> None:
    """Print what a command found: the document for machines, or the text for people."""
    if as_json:
        emit(document)
    else:
        console().print(text)


@contextmanager
def showing_stages(quiet: bool) -> Iterator[None]:
    """Show the stages of a flow as they run: a line each when done; on a terminal a live line too."""
    from infra.running.prefect_settings import server_in_time
    from infra.running.progress import listening

    with ExitStack() as shown:
        if not quiet:
            shown.enter_context(listening(shown.enter_context(Stages())))
        with server_in_time():
            yield


class Stages:
    """A listener that draws; see `infra.running.progress.Listener`."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = console()
        self._live = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[what]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._current: tuple[str, Any, float] | None = None

    def __enter__(self) -> Stages:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, stage: str, done: int, total: int, what: str) -> None:
        if self._current is None or self._current[0] != stage:
            if self._current is not None:
                self._live.remove_task(self._current[1])
            self._current = (stage, self._live.add_task(stage, total=None, what=""), time.perf_counter())
        _, bar, started = self._current
        if done == total == 1:
            from rich.text import Text

            self._live.remove_task(bar)
            self._current = None
            took = f"{time.perf_counter() - started:.1f} s"
            self._live.console.print(Text.assemble(("✓", "green"), f" {stage:<22} {what}  ", (took, "dim")))
        else:
            self._live.update(bar, completed=done, total=total or None, what=what)


def table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows with the same keys as a table."""
    from rich.table import Table

    if not rows:
        console().print(f"{title}: none")
        return
    drawn = Table(title=title, title_justify="left")
    for column in rows[0]:
        drawn.add_column(column, overflow="fold", no_wrap=column in ("id", "batch"))
    for row in rows:
        drawn.add_row(*("" if value is None else str(value) for value in row.values()))
    console().print(drawn)
