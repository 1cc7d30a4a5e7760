"""The report as a page that was parsed, and evidence of a batch that was refused; no tests here."""

from __future__ import annotations

import copy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from infra.report import write_report

VOID = {"meta", "br", "line", "rect", "circle", "path", "polyline"}


class Page(HTMLParser):
    """The parsed page: elements with their attributes, the visible text, and whether every element was closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(html)
        self.close()
        self.unbalanced += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self._open or self._open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self._open[-1:]):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def refused(evidence: dict[str, Any]) -> dict[str, Any]:
    batch = copy.deepcopy(evidence)
    batch["batch"]["status"] = "refused"
    batch["model"] |= {"version_after": None, "uri_after": None, "weights_after": None, "retire_on": None}
    for request in batch["requests"]:
        request["status"] = "received" if request["status"] == "completed" else request["status"]
    batch["intake"]["completed"] = 0
    batch["scores"]["after"]["specificity"] = 62.5
    next(gate for gate in batch["gates"] if gate["name"] == "specificity").update(value=62.5, passed=False)
    return batch


def page(evidence: dict[str, Any], folder: Path) -> Page:
    return Page(write_report(evidence, folder).read_text())
