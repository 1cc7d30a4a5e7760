"""A verdict as files that CI systems show: JUnit XML and SARIF 2.1.0, both by the standard library."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote
from xml.etree import ElementTree

from infra.gates.policy import GateReport
from revs.errors import BadInput, OperationFailed

Outcome = Literal["passed", "warning", "refused", "insufficient", "skipped"]

_LEVELS: Final[Mapping[Outcome, tuple[str, str]]] = {
    "passed": ("pass", "none"),
    "warning": ("fail", "warning"),
    "refused": ("fail", "error"),
    "insufficient": ("fail", "error"),  # as the exit code has it: nothing is promoted by itself
    "skipped": ("notApplicable", "none"),
}
"""Kind and level in SARIF."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one gate, or of a check beside the gates."""

    name: str
    outcome: Outcome
    text: str
    guards: str


def findings(report: GateReport, *, lost: str | None = None) -> tuple[Finding, ...]:
    """What a report found, gate by gate in the order of its policy, and then what is beside them.

    Args:
        report: the verdict.
        lost: why its lineage refuses the version, where it does.
    """
    return (*_of_gates(report), *_beside(report, lost))


def unmeasured(why: str) -> tuple[Finding, ...]:
    """The finding about a version that no gate could judge."""
    return (Finding(name="record", outcome="refused", text=why, guards="A version is judged by what was measured."),)


def _of_gates(report: GateReport) -> Iterator[Finding]:
    judged = {result.name: result for result in report.results}
    for gate in report.policy.gates:
        outcome: Outcome
        if gate.metric in judged:
            result = judged[gate.metric]
            outcome = "passed" if result.passed else "refused" if result.action == "block" else "warning"
            text = result.told
        elif gate.metric in report.insufficient:
            outcome, text = "insufficient", f"{gate.metric} was not measured: insufficient evidence"
        else:
            outcome, text = "skipped", f"{gate.metric} was not measured: there is no such thing in model or batch"
        yield Finding(name=gate.metric, outcome=outcome, text=text, guards=gate.guards or gate.metric)


def _beside(report: GateReport, lost: str | None) -> Iterator[Finding]:
    if report.problem:
        yield Finding(name="suite", outcome="refused", text=report.problem, guards="The gates can be judged.")
    for number, why in enumerate(report.unjudged):
        guards = "Every identifier that was asked for is judged."
        yield Finding(name=f"identifier_{number}", outcome="insufficient", text=why, guards=guards)
    guards = "The version has everything that completed batches erased."
    if lost is None:
        yield Finding(name="lineage", outcome="passed", text="no completed erasure is lacking", guards=guards)
    else:
        yield Finding(name="lineage", outcome="refused", text=lost, guards=guards)


def junit(model: str, found: tuple[Finding, ...]) -> bytes:
    """JUnit XML: a test case for each finding; a warning passes, with what it says as its output."""
    elements: dict[Outcome, str] = {"refused": "failure", "insufficient": "error", "skipped": "skipped"}
    counts = {f"{name}s": sum(elements.get(each.outcome) == name for each in found) for name in ("failure", "error")}
    counts["skipped"] = sum(each.outcome == "skipped" for each in found)
    shown = {name: str(count) for name, count in {"tests": len(found), **counts}.items()}
    suites = ElementTree.Element("testsuites", shown)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": f"revs gate {model}", **shown})
    for each in found:
        case = ElementTree.SubElement(suite, "testcase", {"classname": model, "name": each.name})
        if each.outcome == "warning":
            ElementTree.SubElement(case, "system-out").text = f"warning: {each.text}. {each.guards}"
        elif element := elements.get(each.outcome):
            ElementTree.SubElement(case, element, {"message": each.text}).text = each.guards
    ElementTree.indent(suites)
    written: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def sarif(model: str, found: tuple[Finding, ...], policy_file: Path | None) -> bytes:
    """SARIF 2.1.0: a rule and a result for each finding; a warning has that level, a refusal "error".

    Args:
        model: address of the version.
        found: what `findings` returned.
        policy_file: where the gates stand, for systems that show a result in a file; None: nowhere of the user's.
    """
    places = [_place(model, policy_file)]
    rules = [{"id": each.name, "shortDescription": {"text": each.guards}} for each in found]
    results = []
    for index, each in enumerate(found):
        kind, level = _LEVELS[each.outcome]
        result = {"ruleId": each.name, "ruleIndex": index, "kind": kind, "level": level}
        results.append(result | {"message": {"text": f"{model}: {each.text}"}, "locations": places})
    driver = {"name": "revs gate", "version": version("revs"), "rules": rules}
    document = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "results": results}],
    }
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def _place(model: str, policy_file: Path | None) -> dict[str, Any]:
    place: dict[str, Any] = {"logicalLocations": [{"fullyQualifiedName": model, "kind": "resource"}]}
    if policy_file is None:
        return place
    path, here = policy_file.expanduser().absolute(), Path.cwd()
    uri = quote(path.relative_to(here).as_posix()) if path.is_relative_to(here) else path.as_uri()
    return place | {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class CiFiles:
    """The files that were asked for; None: not that one."""

    junit: Path | None
    sarif: Path | None
    policy_file: Path | None

    def __post_init__(self) -> None:
        """Refuse what cannot be written before anything is measured, which may take long."""
        given = [path for path in (self.junit, self.sarif) if path is not None]
        for path in given:
            if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
                raise BadInput(f"{path} cannot be written: {path.parent} is no folder that may be written to")
            if path.exists() and not path.is_file():
                raise BadInput(f"{path} cannot be written: it is no file; name one")
        if len({path.resolve() for path in given}) < len(given):
            raise BadInput(f"--junit and --sarif both name {self.junit}: name two files")

    def remove(self) -> None:
        """Remove what an earlier run wrote.

        Raises:
            OperationFailed: it cannot be.
        """
        for path in filter(None, (self.junit, self.sarif)):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OperationFailed(f"{path} cannot be replaced ({error.strerror}): name another file") from None

    def write(self, model: str, found: tuple[Finding, ...]) -> None:
        """Write each file whole or not at all.

        Raises:
            OperationFailed: the disk is full, or the folder is gone.
        """
        if self.junit is not None:
            _replace(self.junit, junit(model, found))
        if self.sarif is not None:
            _replace(self.sarif, sarif(model, found, self.policy_file))


def _replace(path: Path, content: bytes) -> None:
    path = path.resolve()
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise OperationFailed(
            f"{path} cannot be written ({error.strerror}): free space, or name another file"
        ) from None
