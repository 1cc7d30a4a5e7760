"""`revs expectations` writes every rule of every suite as pages that fetch nothing."""

from __future__ import annotations

import json
import re
import socket
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from infra.gates import data_docs
from infra.gates.checkpoint import SUITES, load_suite
from infra.gates.expectations import metrics_suite
from infra.gates.policy import GatePolicy
from revs.errors import BadInput, OperationFailed


class Page(HTMLParser):
    """What a browser would fetch or run for a page, where its links lead, and what it says."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"script", "link", "img", "iframe"} or "src" in given:
            self.fetched.append(f"{tag} {given}")
        if tag == "a":
            self.links.append(given.get("href") or "")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("docs") / "pages"

    def refused(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket.socket, "connect", refused)
        done = CliRunner().invoke(app, ["expectations", "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["index"] == str(out / "index.html")
    return out


def test_every_rule_of_every_suite_is_on_its_page(folder: Path) -> None:
    bounds = {gate.metric: (gate.low, gate.high) for gate in GatePolicy.DEFAULT.gates}
    for suite in [*map(load_suite, SUITES), metrics_suite(bounds)]:
        text = Page((folder / "expectations" / f"{suite['name']}.html").read_text(encoding="utf-8")).text
        for entry in suite["expectations"]:
            assert entry["meta"]["rule"] in text
        for name, meaning in suite.get("meta", {}).get("parameters", {}).items():
            assert f"{name}, {meaning}" in text


def test_no_page_fetches_or_runs_anything(folder: Path) -> None:
    pages = list(folder.rglob("*"))
    assert {page.suffix for page in pages if page.is_file()} == {".html"}
    for path in folder.rglob("*.html"):
        source = path.read_text(encoding="utf-8")
        assert Page(source).fetched == []
        assert "default-src 'none'" in source
        assert re.findall(r"url\(|@import", source) == []


def test_the_index_leads_to_every_page_and_each_page_back(folder: Path) -> None:
    links = Page((folder / "index.html").read_text(encoding="utf-8")).links
    assert {(folder / link).resolve() for link in links} == set((folder / "expectations").resolve().iterdir())
    for path in (folder / "expectations").iterdir():
        assert "../index.html" in Page(path.read_text(encoding="utf-8")).links


def test_pages_are_written_again_over_their_own_and_over_nothing_else(folder: Path, tmp_path: Path) -> None:
    assert len(data_docs.write_data_docs(folder)) == 5
    (tmp_path / "index.html").write_text("somebody's page")
    with pytest.raises(BadInput, match="new folder"):
        data_docs.write_data_docs(tmp_path)
    assert (tmp_path / "index.html").read_text() == "somebody's page"


def test_a_rule_that_the_library_leaves_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = data_docs._shown

    def without_notes(suite: Any) -> dict[str, Any]:
        told = shown(suite)
        return {**told, "expectations": [{**entry, "notes": None} for entry in told["expectations"]]}

    monkeypatch.setattr(data_docs, "_shown", without_notes)
    with pytest.raises(OperationFailed, match="did not render"):
        data_docs.write_data_docs(tmp_path / "pages")
    assert not (tmp_path / "pages").exists()
