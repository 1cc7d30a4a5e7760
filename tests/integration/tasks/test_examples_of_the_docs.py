"""The worked examples of the pages about promotion and rollback, run as they stand, with what they print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from registered import Installation, waiting
from typer.testing import CliRunner

from flows.cli.app import app
from infra.requests.tokens import Tokens
from revs.errors import RevsError

DOCS = Path(__file__).resolve().parents[3] / "docs"
VARIES = {r"T-[0-9a-z]{8}": "T-0a1b2c3d", r"B-\d{8}-[0-9a-f]+": "B-20261130-0a1b2c", r"\S+/report\.html": "REPORT"}


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command prepares the environment of its process, and here that is the one of all tests."""
    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)
    monkeypatch.setattr("tasks.versions.audit.write_report", lambda _, folder: folder / "report.html")


def one_line(text: str) -> str:
    """Without the line breaks that depend on how wide a terminal is."""
    return " ".join(text.split())


def steps(page: str, fence: str = "console") -> Iterator[tuple[str, str]]:
    """Each command of the page's blocks with that fence, and what stands below it."""
    text = (DOCS / page).read_text(encoding="utf-8")
    for block in re.findall(rf"^```{fence}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        for step in block.removeprefix("$ ").split("\n$ "):
            command, _, said = step.partition("\n")
            yield command, one_line(said)


def revs(command: str) -> str:
    """What a command prints, its error line with it."""
    done = CliRunner().invoke(app, shlex.split(command)[1:])
    said = done.stdout + (f"error: {done.exception}" if isinstance(done.exception, RevsError) else "")
    for varies, shown in VARIES.items():
        said = re.sub(varies, shown, said)
    return one_line(said)


def test_the_example_of_a_rollback_runs_as_it_stands(here: Installation, two_batches: tuple[str, str]) -> None:
    found = [*steps("rollback.md")]
    assert len(found) >= 6
    for command, said in found:
        if "moved to version 2" in said:
            here.point_champion_to("2")  # as the page says
        assert revs(command) == said, command


def test_the_example_of_a_promotion_runs_as_it_stands(here: Installation) -> None:
    waiting(here)
    found = [*steps("promote.md")]
    assert len(found) == 2
    for command, said in found:
        assert revs(command) == said, command


def test_the_example_of_an_approval_by_role_runs_as_it_stands(
    here: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting(here)
    monkeypatch.setenv("REVS_APPROVER_ROLE", "officer")
    monkeypatch.chdir(tmp_path)
    for role in ("officer", "operator"):
        Path(f"{role}.token").write_text(Tokens(here.store).add(role=role, name=f"A. {role.title()}", by="a test")[1])
    found = [*steps("promote.md", "console role=officer")]
    assert len(found) == 3
    for command, said in found:
        assert revs(command) == said, command
