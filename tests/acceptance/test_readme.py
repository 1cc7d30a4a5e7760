"""The README's commands, run as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Every shell line of the README: blocks marked bash are run, those marked sh need files of one's own."""
    lines = [line for block in (*blocks("bash"), *blocks("sh")) for line in block.splitlines()]
    return [line for line in lines if line.split()[:1] and line.split()[0] in {"make", "revs", "export"}]


def test_the_readme_has_the_commands_that_this_file_runs() -> None:
    words = {" ".join(command.split()[:2]) for command in commands()}
    assert {"make demo", "make test", "revs process", "revs gate", "revs requests"} <= words


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make ")])
def test_every_make_target_of_the_readme_exists(command: str) -> None:
    done = subprocess.run(
        [*shlex.split(command), "-n"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_the_commands_on_the_demo_run_as_they_stand(demo_run: Any) -> None:
    block = next(block for block in blocks("bash") if "REVS_HOME" in block)
    script = block.replace("demo-out/state", str(demo_run.state))
    environment = {**demo_run.env(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "every gate passed" in done.stdout


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("revs ")])
def test_every_option_of_the_readme_is_one_the_command_knows(command: str) -> None:
    import typer

    from flows.cli.app import app

    words = shlex.split(command)
    name, found = [], typer.main.get_command(app)
    for word in words[1:]:
        if word not in getattr(found, "commands", {}):
            break
        name.append(word)
        found = found.commands[word]  # type: ignore[attr-defined]  # a group, as was just seen
    assert name, command
    known = subprocess.run(
        [Path(sys.executable).parent / "revs", *name, "--help"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert all(word in known for word in words if word.startswith("--"))


def test_the_library_example_runs_on_a_real_model(demo_models: Path) -> None:
    from revs.development import Recipe, build

    code = blocks("python")[0].replace("path/or/hub-id", str(build(Recipe(), demo_models).folder))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "'efficacy'" in done.stdout


def test_the_request_of_the_readme_is_well_formed(tmp_path: Path) -> None:
    from infra.requests.clock import Clock
    from infra.requests.intake import parse_requests

    entries = parse_requests(blocks("json")[0].encode(), name="README", model="demo", clock=Clock())
    assert [entry.reason for entry in entries] == [None]
