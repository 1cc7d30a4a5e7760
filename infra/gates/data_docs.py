"""Renders the suites as static HTML: Great Expectations' Data Docs, made to be read without a network.

Its site builder works offline, but its pages fetch Bootstrap, jQuery, fonts and a logo from other people's servers when
they are opened, and its index is an empty table without them. So what would be fetched is taken out of the pages, they
forbid the browser to fetch anything, and the index is ours. Only suites are rendered, no results: those would show
values of the rows.
"""

from __future__ import annotations

import html
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from infra.gates.checkpoint import ONE_CONTEXT_AT_A_TIME, SUITES, library, load_suite, memory_context
from infra.gates.expectations import metrics_suite
from infra.gates.policy import GatePolicy
from revs.errors import BadInput, OperationFailed

# What a browser would fetch or run, and the footer, which advertises a newsletter. Links to follow stay.
_FETCHED = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<footer>.*?</footer>|\bbackground: url\([^)]*\)", re.DOTALL
)
_MADE_BY = '<meta name="generator" content="revs expectations">'
_HEAD = f"""<meta charset="utf-8">{_MADE_BY}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body {{ font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}</style>"""


def write_data_docs(folder: Path) -> list[Path]:
    """Write a page for each suite, and `index.html`; the metrics' bounds are those of the default policy.

    Args:
        folder: new, empty, or that of an earlier call.

    Returns:
        The pages, the index first.

    Raises:
        BadInput: there is something else in the folder.
        OperationFailed: a rule could not be rendered.
    """
    index = folder / "index.html"
    if folder.exists() and not _is_free(folder, index):
        raise BadInput(f"{folder} is not empty and holds no earlier Data Docs: name a new folder")
    bounds = {gate.metric: (gate.low, gate.high) for gate in GatePolicy.DEFAULT.gates}
    suites = [*map(load_suite, SUITES), metrics_suite(bounds)]
    pages = _rendered(suites)
    (folder / "expectations").mkdir(parents=True, exist_ok=True)
    index.write_text(_index(suites), encoding="utf-8")
    paths = [folder / "expectations" / f"{name}.html" for name in pages]
    for path, page in zip(paths, pages.values(), strict=True):
        path.write_text(page, encoding="utf-8")
    return [index, *paths]


def _is_free(folder: Path, index: Path) -> bool:
    if not folder.is_dir():
        return False
    return not any(folder.iterdir()) or (index.is_file() and _MADE_BY in index.read_text(encoding="utf-8"))


def _rendered(suites: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The library's page of each suite, by name, with nothing in it to fetch."""
    gx = library()
    with tempfile.TemporaryDirectory() as site, ONE_CONTEXT_AT_A_TIME:
        backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": site}
        context = memory_context(
            suites={"class_name": "SiteBuilder", "store_backend": backend, "show_how_to_buttons": False}
        )
        for suite in suites:
            context.suites.add(gx.ExpectationSuite(**_shown(suite)))
        context.build_data_docs()
        return {suite["name"]: _offline(suite, Path(site)) for suite in suites}


def _offline(suite: Mapping[str, Any], site: Path) -> str:
    path = site / "expectations" / f"{suite['name']}.html"
    page = path.read_text(encoding="utf-8") if path.is_file() else ""  # the library logs its errors and goes on
    text = html.unescape(page)
    if missing := [rule for rule in _rules(suite) if rule not in text]:
        raise OperationFailed(f"suite {suite['name']}: Great Expectations did not render {'; '.join(missing)}")
    return _FETCHED.sub("", page).replace("<head>", f"<head>{_HEAD}", 1)


def _shown(suite: Mapping[str, Any]) -> dict[str, Any]:
    """A suite as it is rendered: each rule as a note, and what its parameters stand for."""
    meanings = suite.get("meta", {}).get("parameters", {})
    return {**suite, "expectations": [_explained(entry, meanings) for entry in suite["expectations"]]}


def _explained(entry: Mapping[str, Any], meanings: Mapping[str, str]) -> dict[str, Any]:
    kwargs = dict(entry["kwargs"])
    notes = [f"Reason when broken: {entry['meta']['rule']}"]
    for kwarg, value in entry["kwargs"].items():
        if isinstance(value, Mapping):
            name = value["$PARAMETER"]
            notes.append(f"{kwarg} is given for each batch: {name}, {meanings[name]}")
            if kwarg == "value_set":
                kwargs[kwarg] = [name]  # the library would show the word $PARAMETER
            elif kwarg == "mostly":
                del kwargs[kwarg]  # the library would show no share
    return {**entry, "kwargs": kwargs, "notes": notes}


def _rules(suite: Mapping[str, Any]) -> list[str]:
    return [entry["meta"]["rule"] for entry in suite["expectations"]]


def _index(suites: Sequence[Mapping[str, Any]]) -> str:
    listed = "\n".join(
        f'<li><a href="expectations/{suite["name"]}.html">{suite["name"]}</a> ({len(_rules(suite))} expectations): '
        f"{html.escape(suite['notes'])}</li>"
        for suite in suites
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{_HEAD}<title>Expectations</title></head>\n'
        f"<body><h1>Expectations</h1>\n<ul>\n{listed}\n</ul></body></html>\n"
    )
