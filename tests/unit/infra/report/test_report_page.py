"""The page: safe from what stands in the record, self-contained, well-formed, and readable for everybody."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from report_page import Page, page

from infra.report import write_report

LOADS = {"src", "srcset", "href", "xlink:href", "action", "data", "poster", "formaction"}


HOSTILE = """</style></title><script>alert(1)</script><img src=x onerror=alert(1)>" onload="alert(1)' -->{{ 7*7 }}"""


def hostile(value: Any) -> Any:
    """Every string of the evidence made hostile, except the few that decide what is shown."""
    if isinstance(value, dict):
        return {name: hostile(item) for name, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value + HOSTILE if isinstance(value, str) else value


def test_hostile_strings_stay_text(evidence: dict[str, Any], tmp_path: Path) -> None:
    attacked = hostile(evidence) | {"schema": evidence["schema"]}
    attacked["edit"]["config"][HOSTILE] = HOSTILE
    attacked["scores"]["after"][HOSTILE] = 1.0
    attacked["versions"][HOSTILE] = HOSTILE
    for status in ("completed", "refused"):
        attacked["batch"]["status"] = status
        parsed = page(attacked, tmp_path)
        assert {tag for tag, _ in parsed.elements}.isdisjoint({"script", "img", "iframe", "object", "link", "form"})
        assert not [name for _, attrs in parsed.elements for name in attrs if name.startswith("on")]
        assert not parsed.unbalanced
        assert "<script>alert(1)</script>" in parsed.text  # shown, as text
        assert "49" not in re.findall(r"-->(\S+)", parsed.text)


def test_a_command_to_copy_quotes_what_the_record_says(evidence: dict[str, Any], tmp_path: Path) -> None:
    evidence["batch"]["id"] = "B-1; rm -rf /"
    assert "revs audit 'B-1; rm -rf /'" in page(evidence, tmp_path).text


def test_the_page_loads_nothing_and_runs_nothing(evidence: dict[str, Any], tmp_path: Path) -> None:
    html = write_report(evidence, tmp_path).read_text()
    parsed = Page(html)
    references = [value or "" for _, attrs in parsed.elements for name, value in attrs.items() if name in LOADS]
    assert references and all(value.startswith("#") for value in references)
    assert not re.search(r"url\(|@import|https?:|<script|<link", html)
    assert any(attrs.get("http-equiv") == "Content-Security-Policy" for _, attrs in parsed.elements)
    assert len(html.encode()) < 300_000


def test_the_page_is_well_formed_and_usable_without_sight(evidence: dict[str, Any], tmp_path: Path) -> None:
    parsed = page(evidence, tmp_path)
    tags = [tag for tag, _ in parsed.elements]
    assert not parsed.unbalanced
    assert tags.count("table") == tags.count("caption") == 11
    assert all("scope" in attrs for tag, attrs in parsed.elements if tag == "th")
    assert tags.count("svg") == tags.count("desc") == 2
    ids = [str(attrs["id"]) for _, attrs in parsed.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = {name for _, attrs in parsed.elements for name in (attrs.get("aria-labelledby") or "").split()}
    targets = {value[1:] for _, attrs in parsed.elements if (value := attrs.get("href"))}
    assert named | targets <= set(ids)


def test_text_contrasts_with_its_background_in_light_and_dark() -> None:
    css = (Path(__file__).parents[4] / "infra/report/report.css").read_text()
    for block in re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL):
        colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        papers = [name for name in colours if name in ("paper", "tint") or name.endswith("-tint")]
        inks = ["ink", "muted", "accent", "good", "bad", "caution", "before", "after", "decoy", "control"]
        for ink in inks:
            for paper in papers if ink in ("ink", "muted") else ["paper", f"{ink}-tint"]:
                if paper in colours:
                    assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_long_digests_are_short_on_the_page_and_whole_in_the_title(evidence: dict[str, Any], tmp_path: Path) -> None:
    parsed = page(evidence, tmp_path)
    subject = evidence["requests"][0]["subject"]
    assert subject not in parsed.text
    assert subject[:12] + "…" in parsed.text
    assert any(attrs.get("title") == subject for _, attrs in parsed.elements)
