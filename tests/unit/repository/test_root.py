"""The root of the repository: the make targets, and what lies there."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[3]
ROOMS = {"flows", "tasks", "revs", "infra", "tests", "docs", ".ci"}
FILES = {
    "pyproject.toml", "README.md", "Makefile", "constraints.txt", "prefect.yaml", "CHANGELOG.md", "CONTRIBUTING.md",
    "LICENSE", ".gitignore", ".gitattributes", ".pre-commit-config.yaml",
}  # fmt: skip


def test_every_target_that_is_called_phony_has_one_rule_and_the_other_way_round() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.MULTILINE)
    described = Counter(re.findall(r"^([a-z-]+):.* ## ", makefile, flags=re.MULTILINE))
    more = Counter(re.findall(r"^([a-z-]+) [a-z -]*:.* ## ", makefile, flags=re.MULTILINE))
    assert described + more == Counter(phony.split())


def test_nothing_else_lies_at_the_root() -> None:
    """What a tool or a test wrote there and somebody committed is found here."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {line.split("/")[0] for line in listed.splitlines()} <= ROOMS | FILES
