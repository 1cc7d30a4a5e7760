"""Write the record of a batch: report.json for machines and auditors, report.html for the people who sign it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChainableUndefined, Environment, FileSystemLoader

from infra.report.canonical import canonical
from infra.report.figures import NOT_RECORDED, count, digest, seconds, setting, whole, words
from infra.report.view import view
from infra.requests.outcomes import described
from revs.errors import OperationFailed


def write_report(evidence: dict[str, Any], folder: Path) -> Path:
    """Write `folder`/report.json (canonical, RFC 8785) and `folder`/report.html, and return the path of the latter.

    Both are made of `evidence` alone: the same evidence gives the same bytes on any day. Each file is replaced in one
    step; a report that could not be written leaves the earlier one.

    Raises:
        OperationFailed: the evidence is no evidence of this program's schema, or the files could not be written.
    """
    record = canonical(evidence)
    html = render("report.html.j2", view(record))
    remedy = (
        "the batch and its model version are not affected: make room or give another folder, then run `revs audit` for"
        " the batch"
    )
    write(folder, {"report.json": record.content, "report.html": html.encode()}, what="the report", remedy=remedy)
    return folder / "report.html"


def write(folder: Path, files: Mapping[str, bytes], *, what: str, remedy: str) -> None:
    """Put the files into the folder; `what` and `remedy` are for the message of the error.

    Raises:
        OperationFailed: one could not be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            _replace(folder / name, content)
    except OSError as error:
        raise OperationFailed(f"{what} could not be written to {folder} ({error.strerror}); {remedy}") from None


def render(template: str, shown: Mapping[str, Any]) -> str:
    """Return the page: one file, no script, nothing loaded from elsewhere."""
    return _environment().get_template(template).render(shown)


@cache
def _environment() -> Environment:
    """The templates of this folder; each escapes, whatever its file name: what is shown is not trusted."""
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {f.__name__: f for f in (count, digest, outcome, recorded, seconds, setting, whole, words)}
    return found


def outcome(of: dict[str, Any]) -> str:
    """What became of one identifier, in words."""
    return f"{of.get('type')}: {described(str(of.get('kind')), of.get('detail') or {})}"


def recorded(value: Any) -> str:
    """The value as text, or that it is not recorded."""
    text = "" if value is None else str(value)  # a missing key is an Undefined, whose text is empty
    return text or NOT_RECORDED


def _replace(path: Path, content: bytes) -> None:
    """Put the content in the place of the file in one step; an earlier one stays until then."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)  # mkstemp's 0600 would shut the auditor out
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
