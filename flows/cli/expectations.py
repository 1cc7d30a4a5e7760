"""`revs expectations`: the rules that every batch is held to, as pages to read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.common import Json, answer


def expectations(
    out: Annotated[Path, typer.Option(help="Folder for index.html and a page for each suite.")] = Path("expectations"),
    as_json: Json = False,
) -> None:
    """Write the Great Expectations suites as Data Docs: static HTML that fetches nothing, with rules and no values.

    Example: revs expectations --out gates
    """
    from infra.gates.data_docs import write_data_docs

    index, *suites = map(str, write_data_docs(out))
    answer({"index": index, "pages": suites}, f"{len(suites)} suites: {index}", as_json=as_json)
