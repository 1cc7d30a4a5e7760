"""`revs expectations`: the rules that every batch is held to, as pages to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import Json, console, emit


def expectations(
    out: Annotated[Path, typer.Option(help="Folder for index.html and a page for each suite.")] = Path("expectations"),
    as_json: Json = False,
) -> None:
    """Write the Great Expectations suites as Data Docs: static HTML that fetches nothing, with rules and no values.

    Example: revs expectations --out gates
    """
    from infra.gates.data_docs import write_data_docs

    pages = write_data_docs(out)
    if as_json:
        emit({"index": str(pages[0]), "pages": [str(page) for page in pages[1:]]})
    else:
        console().print(f"{len(pages) - 1} suites: {pages[0]}", markup=False)
