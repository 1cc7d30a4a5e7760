"""The notebooks run, cell after cell, in a fresh process and on a real model."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))
ABSOLUTE = re.compile(r"""(?:^|[\s"'(=])(?:/\w[\w.-]*/|[A-Z]:\\)""")


def code_of(notebook: Path) -> str:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom_and_leaves_the_model_as_it_was(
    notebook: Path, demo_models: Path, tmp_path: Path
) -> None:
    environment = os.environ | {"REVS_NOTEBOOK_CACHE": str(demo_models), "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code_of(notebook)],
        capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "as before: True" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_shows_its_results_and_no_path_of_a_machine() -> None:
    assert NOTEBOOKS
    for notebook in NOTEBOOKS:
        text = notebook.read_text(encoding="utf-8")
        outputs = [cell["outputs"] for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        assert any(outputs) and "image/png" in text
        said = [line for cell in outputs for output in cell for line in output.get("text", ())]
        shown = [line for cell in json.loads(text)["cells"] for line in cell["source"]] + said
        assert said and not [line for line in shown if ABSOLUTE.search(line)]


def test_an_absolute_path_is_seen_and_a_division_is_none() -> None:
    seen = [
        line
        for line in ("saved to /srv/jane/model", "C:\\Users\\jane", 'home / ".cache"', "1/2 of it")
        if ABSOLUTE.search(line)
    ]
    assert seen == ["saved to /srv/jane/model", "C:\\Users\\jane"]
