"""The page on detection: its example runs, its figures are those of a benchmark that met its targets."""

from __future__ import annotations

import json
import re
from pathlib import Path

from infra.detection import DEFAULT_TYPES, Detector

DOCS = Path(__file__).parents[4] / "docs"


def test_the_example_file_works(tmp_path: Path) -> None:
    page = (DOCS / "detection.md").read_text(encoding="utf-8")
    (tmp_path / "own.yaml").write_text(re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)[0], encoding="utf-8")
    text = "S-654321 of staff S-123456 on BLUEBIRD, durchwahl 03023125001, help@example.com, SSN 900-12-3456"
    found = [(f.type, text[f.start : f.end]) for f in Detector.from_file(tmp_path / "own.yaml").find(text)]
    assert found == [("STAFF_NUMBER", "S-123456"), ("CUSTOM", "BLUEBIRD"), ("PHONE_NUMBER", "03023125001")]


def test_the_page_names_every_type_and_links_to_its_figures() -> None:
    page = (DOCS / "detection.md").read_text(encoding="utf-8")
    assert [type_ for type_ in DEFAULT_TYPES if f"`{type_}`" not in page] == []
    assert (DOCS / "benchmarks" / "detection.md").is_file()


def test_the_figures_in_the_docs_meet_the_targets_and_are_of_full_size() -> None:
    result = json.loads((DOCS / "benchmarks" / "detection.json").read_text(encoding="utf-8"))
    assert len(result["runs"]) >= 2
    for run in result["runs"]:
        assert run["documents"] >= 10_000
        assert run["same_findings_as_the_engine"]
        speeds = run["documents_per_second"]
        assert speeds["ours"] >= 5 * speeds["presidio's engine, our recognisers"]
        for type_ in DEFAULT_TYPES:
            ours = run["quality"]["ours"][type_]["f1"]
            assert ours >= (0.95 if type_ in {"US_SSN", "PHONE_NUMBER"} else 0.98), type_
            assert ours >= run["quality"]["presidio"][type_]["f1"], type_
            assert ours >= run["quality"]["presidio, 0.4 and whole"][type_]["f1"], type_
