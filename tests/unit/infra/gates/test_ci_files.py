"""A verdict as JUnit XML and as SARIF: what CI systems read, written whole or not at all."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
import yaml

from infra.gates import policy as gates
from infra.gates.ci import CiFiles, findings, junit, sarif, unmeasured
from infra.gates.policy import Gate, GatePolicy, check_gates
from revs.errors import BadInput, OperationFailed

POLICY = GatePolicy(
    gates=(
        Gate(metric="extraction_rate", high=0, guards="Nothing that was erased is generated."),
        Gate(metric="worst_form", low=25, action="warn", guards="A number can still follow <where> one stood & did."),
        Gate(metric="specificity", low=80, need="evidence", guards="Other people's records are kept."),
        Gate(metric="delta", low=50, need="optional", guards="No layer gives it away."),
    )
)
GOOD = {"extraction_rate": 0.0, "worst_form": 60.0, "specificity": 95.0}
# The rules of SARIF 2.1.0 (OASIS) that concern what is written here.
TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
RESULT = {
    "type": "object",
    "required": ["message", "ruleId", "level", "kind", "locations"],
    "properties": {
        "message": TEXT,
        "ruleIndex": {"type": "integer", "minimum": 0},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "kind": {"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
        "locations": {
            "type": "array",
            "items": {
                "properties": {
                    "logicalLocations": {"items": {"required": ["fullyQualifiedName"]}},
                    "physicalLocation": {
                        "required": ["artifactLocation"],
                        "properties": {
                            "artifactLocation": {"properties": {"uri": {"type": "string", "format": "uri-reference"}}},
                            "region": {"properties": {"startLine": {"type": "integer", "minimum": 1}}},
                        },
                    },
                }
            },
        },
    },
    "if": {"properties": {"kind": {"not": {"const": "fail"}}}},
    "then": {"properties": {"level": {"const": "none"}}},  # section 3.27.10: only what fails has a level
}
RULE = {"type": "object", "required": ["id"], "properties": {"shortDescription": TEXT}}
DRIVER = {"required": ["name"], "properties": {"rules": {"type": "array", "uniqueItems": True, "items": RULE}}}
RUN = {
    "required": ["tool"],
    "properties": {
        "tool": {"required": ["driver"], "properties": {"driver": DRIVER}},
        "results": {"type": "array", "items": RESULT},
    },
}
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "items": RUN},
    },
}


@pytest.fixture(autouse=True)
def agreeing_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "judge_metrics", lambda values, bounds: frozenset(bounds))


def read(data: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(data)
    jsonschema.Draft202012Validator(SARIF, format_checker=jsonschema.FormatChecker()).validate(document)
    return document


def cases(data: bytes) -> dict[str, list[str]]:
    """The elements below each test case, after the counts were compared with them."""
    root = ElementTree.fromstring(data)
    (suite,) = root
    found = {str(case.get("name")): [child.tag for child in case] for case in suite}
    for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert root.get(name) == suite.get(name) == str(sum(tag in tags for tags in found.values()))
    assert root.get("tests") == suite.get("tests") == str(len(found))
    return found


@pytest.mark.parametrize(
    ("scores", "lost", "name", "element", "kind", "level", "why"),
    [
        (GOOD, None, "extraction_rate", [], "pass", "none", "passed"),
        (GOOD | {"extraction_rate": 2.5}, None, "extraction_rate", ["failure"], "fail", "error", "refused"),
        (GOOD | {"extraction_rate": math.nan}, None, "extraction_rate", ["failure"], "fail", "error", "no number"),
        ({"worst_form": 60.0}, None, "extraction_rate", ["failure"], "fail", "error", "missing"),
        (GOOD | {"worst_form": 1.0}, None, "worst_form", ["system-out"], "fail", "warning", "a warning passes"),
        ({"extraction_rate": 0.0, "worst_form": 60.0}, None, "specificity", ["error"], "fail", "error", "insufficient"),
        (GOOD, None, "delta", ["skipped"], "notApplicable", "none", "the model has no such thing"),
        (GOOD, None, "lineage", [], "pass", "none", "nothing is lacking"),
        (GOOD, "models:/m/1 lacks what batch B erased", "lineage", ["failure"], "fail", "error", "an erasure is lost"),
    ],
)
def test_each_gate_is_shown_as_it_was_judged(
    scores: dict[str, float], lost: str | None, name: str, element: list[str], kind: str, level: str, why: str
) -> None:
    found = findings(check_gates(scores, POLICY), lost=lost)
    assert cases(junit("models:/m/1", found))[name] == element, why
    (run,) = read(sarif("models:/m/1", found, None))["runs"]
    (result,) = [result for result in run["results"] if result["ruleId"] == name]
    assert (result["kind"], result["level"]) == (kind, level), why
    rules = run["tool"]["driver"]["rules"]
    assert rules[result["ruleIndex"]]["id"] == name
    assert name not in {gate.metric: gate for gate in POLICY.gates} or {rule["id"]: rule for rule in rules}[name][
        "shortDescription"
    ] == {"text": next(gate.guards for gate in POLICY.gates if gate.metric == name)}


def test_what_stands_beside_the_gates_is_in_the_files() -> None:
    report = replace(
        check_gates(GOOD, POLICY), unjudged=("identifier 0 of request R-1 was not judged: no",), problem="x"
    )
    found = cases(junit("models:/m/1", findings(report)))
    assert (found["suite"], found["identifier_0"]) == (["failure"], ["error"])
    assert cases(junit("models:/m/1", unmeasured("it carries no measurements"))) == {"record": ["failure"]}
    read(sarif("models:/m/1", unmeasured("it carries no measurements"), None))


def test_the_same_verdict_gives_the_same_bytes_and_text_is_escaped() -> None:
    found = findings(check_gates(GOOD | {"worst_form": 1.0}, POLICY))
    assert junit("models:/m/1", found) == junit("models:/m/1", found)
    assert b"&lt;where&gt; one stood &amp; did" in junit("models:/m/1", found)


def test_a_result_names_the_policy_file_relative_to_where_it_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path, uri in (
        (Path("ci/my policy.yaml"), "ci/my%20policy.yaml"),
        (tmp_path / "p.yaml", "p.yaml"),
        (Path("/etc/p.yaml"), "file:///etc/p.yaml"),
    ):
        (run,) = read(sarif("models:/m/1", findings(check_gates(GOOD, POLICY)), path))["runs"]
        place = run["results"][0]["locations"][0]["physicalLocation"]
        assert place["artifactLocation"]["uri"] == uri


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(check_gates(GOOD, POLICY))
    path = tmp_path / "gate.xml"
    path.write_text("earlier")
    files = CiFiles(junit=path, sarif=tmp_path / "gate.sarif", policy_file=None)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(OperationFailed, match=r"gate\.xml cannot be written \(No space left on device\)"):
            files.write("models:/m/1", found)
    assert path.read_text() == "earlier" and [each.name for each in tmp_path.iterdir()] == ["gate.xml"]
    files.write("models:/m/1", found)
    cases(path.read_bytes())
    read((tmp_path / "gate.sarif").read_bytes())
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("junit_path", "sarif_path", "said"),
    [
        ("none/gate.xml", None, "none is no folder that may be written to"),
        ("file/gate.xml", None, "file is no folder that may be written to"),
        (None, ".", "it is no file"),
        ("gate.xml", "../{name}/gate.xml", "--junit and --sarif both name"),
    ],
)
def test_a_path_that_cannot_be_written_ends_in_one_line_before_anything_is_judged(
    junit_path: str | None, sarif_path: str | None, said: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    given = {
        name: None if path is None else tmp_path / path.format(name=tmp_path.name)
        for name, path in (("junit", junit_path), ("sarif", sarif_path))
    }
    with pytest.raises(BadInput, match=said) as refusal:
        CiFiles(**given, policy_file=None)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["reference", "ranks"])
def test_a_shipped_policy_fits_the_schema_that_is_shipped_and_a_wrong_one_does_not(name: str) -> None:
    folder = Path(gates.__file__).with_name("policies")
    schema = json.loads((folder / "policy.schema.json").read_text(encoding="utf-8"))
    document = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    document["gates"]["extraction_rate"]["hihg"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)
