"""Gate policies as YAML files: what is read, and what is refused in one line with the name of the file."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.gates.policy import Gate, GatePolicy
from infra.gates.policy_file import PolicyFile
from infra.report.figures import percent
from infra.report.metrics import METRICS
from revs.errors import BadInput

FOLDER = Path(__file__).parents[4] / "infra/gates/policies"
GATE = "extraction_rate: {guards: Nothing is said., high: 0}"


def one(entry: str) -> str:
    return f"version: 1\ngates:\n  {entry}\n"


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
BAD: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "it is empty"),
    "comments alone": ("# nothing\n", "it is empty"),
    "no UTF-8": (b"version: 1\xff", "it is no UTF-8 text"),
    "no YAML": ("version: [1", "it is no YAML at line 1"),
    "two documents": (one(GATE) + "---\n" + one(GATE), "it is no YAML"),
    "text": ("just words", "it is not a mapping of version and gates"),
    "a list": ("- version\n", "it is not a mapping of version and gates"),
    "huge": ("# " + "x" * 70_000, "it has more than 64 KiB"),
    "aliases that grow": (BOMB, "line 1 has an anchor or an alias"),
    "an alias of nothing": ("version: *a\n", "has an anchor or an alias"),
    "nested without end": ("[" * 5_000, "line 1 is nested too deep"),
    "a key that is a list": ("? [a, b]\n: 1\n", "line 1: a key is no word"),
    "an object of Python": ("version: !!python/object/apply:os.getcwd []\ngates: {}\n", "version"),
    "no version": (f"gates:\n  {GATE}\n", "version is missing"),
    "another version": (f"version: 2\ngates:\n  {GATE}\n", "version = 2 must be 1"),
    "a version in quotes": (f"version: '1'\ngates:\n  {GATE}\n", "version = 1 must be 1"),
    "a version that is true": (f"version: true\ngates:\n  {GATE}\n", "version = true must be 1"),
    "a version with a point": (f"version: 1.0\ngates:\n  {GATE}\n", "version = 1.0 must be 1"),
    "more than everything": (one("specificity: {guards: x, low: 101}"), "it can never pass, for no share is above 100"),
    "no gates": ("version: 1\n", "gates is missing"),
    "gates that are none": ("version: 1\ngates:\n", "gates is not a mapping of metrics"),
    "gates that are empty": ("version: 1\ngates: {}\n", "gates is empty"),
    "gates in a list": ("version: 1\ngates:\n  - extraction_rate\n", "gates is not a mapping of metrics"),
    "a gate that is a number": (one("extraction_rate: 0"), "gates.extraction_rate is not a mapping"),
    "a key twice": (one(f"{GATE}\n  {GATE}"), "line 4: extraction_rate stands there twice"),
    "a bound twice": (one("extraction_rate: {guards: x, high: 0, high: 5}"), "line 3: high stands there twice"),
    "an unknown key above": (f"version: 1\nbounds: {{}}\ngates:\n  {GATE}\n", "bounds is no key there; known are v"),
    "an unknown key": (
        one("extraction_rate: {guards: x, hihg: 0}"),
        "gates.extraction_rate.hihg is no key there; known are guards, low, high, need, action, parent, root, control",
    ),
    "an unknown key below": (
        one("specificity: {root: {guards: x, low: 70, parent: {}}}"),
        "gates.specificity.root.parent is no key there; known are guards, low, high, need, action",
    ),
    "an unknown metric": (
        one("perplexity_ration: {guards: x, high: 1}"),
        "gates.perplexity_ration: no metric has this name; near are perplexity_ratio",
    ),
    "a metric like no other": (one("zzz: {guards: x, high: 1}"), "gates.zzz: no metric has this name; 'revs gate"),
    "a recorded name": (
        one("perplexity_ratio_root: {guards: x, high: 1.05}"),
        "no metric has this name; write 'root' under 'perplexity_ratio'",
    ),
    "low above high": (
        one("membership_beyond_chance: {guards: x, low: 1, high: -1}"),
        "gate 'membership_beyond_chance' can never pass: low 1 is above high -1",
    ),
    "the wrong way for a ratio": (
        one("perplexity_ratio: {guards: x, low: 1.02}"),
        "gates.perplexity_ratio: lower is better, so it needs high",
    ),
    "the wrong way for a share": (one("specificity: {guards: x, high: 80}"), "higher is better, so it needs low"),
    "one side of two": (one("membership_beyond_chance: {guards: x, high: 1}"), "near 0 is better, so it needs low and"),
    "the wrong way since the root": (
        one("perplexity_ratio: {root: {guards: x, low: 1}}"),
        "gates.perplexity_ratio.root: lower is better, so it needs high",
    ),
    "no bound": (one("extraction_rate: {guards: x}"), "gates.extraction_rate: lower is better, so it needs high"),
    "a bound left empty": (one("extraction_rate: {guards: x, high: }"), "so it needs high"),
    "nothing in a gate": (one("extraction_rate: {}"), "so it needs high"),
    "NaN": (one("extraction_rate: {guards: x, high: .nan}"), "gates.extraction_rate.high = … must be a valid number"),
    "infinite": (one("extraction_rate: {guards: x, high: .inf}"), "high = … must be a valid number"),
    "too large": (one("extraction_rate: {guards: x, high: 1e999}"), "must be a finite number"),
    "a whole number beyond all": (one(f"extraction_rate: {{guards: x, high: {'9' * 400}}}"), "must be a valid number"),
    "a flag": (one("extraction_rate: {guards: x, high: true}"), "high = true must be a valid number"),
    "text for a bound": (one("extraction_rate: {guards: x, high: '0'}"), "high = 0 must be a valid number"),
    "octal": (one("specificity: {guards: x, low: 070}"), "low = … must be a valid number"),
    "base 60": (one("specificity: {guards: x, low: 1:20}"), "low = … must be a valid number"),
    "a list for a bound": (one("specificity: {guards: x, low: [80]}"), "low is a list or mapping and must be a v"),
    "no sentence": (one("extraction_rate: {high: 0}"), "gates.extraction_rate: guards is missing"),
    "no sentence below": (one("specificity: {root: {low: 70}}"), "gates.specificity.root.guards is missing"),
    "an empty sentence": (one("extraction_rate: {guards: '', high: 0}"), "gates.extraction_rate.guards"),
    "a sentence of two lines": (one('extraction_rate: {guards: "a\\nb", high: 0}'), "must be one line"),
    "half a character": (one('extraction_rate: {guards: "a\\ud800", high: 0}'), "gates.extraction_rate.guards"),
    "an unknown need": (one("extraction_rate: {guards: x, high: 0, need: maybe}"), "need = maybe must be 'required'"),
    "an unknown action": (one("extraction_rate: {guards: x, high: 0, action: stop}"), "action = stop must be 'block'"),
    "all warn": (one("extraction_rate: {guards: x, high: 0, action: warn}"), "without gates that block"),
    "what cannot be followed to the root": (
        one("extraction_rate: {root: {guards: x, high: 0}}"),
        "gates.extraction_rate.root: it cannot be compared with the root of the lineage; perplexity_ratio and",
    ),
    "what has no points": (
        one("membership_beyond_chance: {parent: {guards: x, low: 0, high: 1}}"),
        "gates.membership_beyond_chance.parent: it is no percentage",
    ),
    "another file of ours": ('{"subject": "wren@example.com"}', "version is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said"), BAD.values(), ids=BAD)
def test_a_bad_policy_ends_in_one_line_with_its_file_and_what_is_wrong(
    content: str | bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(BadInput) as refusal:
        GatePolicy.read(path)
    text = str(refusal.value)
    assert text.startswith(f"the gate policy {path}: ") and said in text, text
    assert "\n" not in text and len(text) < 400
    assert "wren" not in text, "a file that is another one is not shown"


def test_a_policy_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(BadInput, match=rf"the gate policy {path} cannot be read .* name a YAML file"):
            GatePolicy.read(path)


@pytest.mark.parametrize(("name", "policy"), [("reference", GatePolicy.DEFAULT), ("ranks", GatePolicy.RANKS)])
def test_a_shipped_policy_is_what_a_user_may_write_and_its_own_file_is_the_one_place_of_its_bounds(
    name: str, policy: GatePolicy
) -> None:
    assert GatePolicy.read(FOLDER / f"{name}.yaml") == policy
    assert all(gate.guards.endswith(".") and gate.action == "block" for gate in policy.gates)
    assert len({gate.guards for gate in policy.gates}) == len(policy.gates)


def test_the_bounds_of_the_shipped_policies_are_no_looser_than_they_were() -> None:
    """As they stood in the program before they were files."""
    before = {
        "extraction_rate": {"high": 0},
        "extraction_rate_unseen": {"high": 0, "need": "evidence"},
        "extraction_rate_other": {"high": 0, "need": "optional"},
        "specificity": {"low": 80, "need": "evidence"},
        "perplexity_ratio": {"high": 1.02},
    }
    chance = {
        f"{name}_beyond_chance{where}": {"low": low, "high": high, "need": need}
        for name, low, high in (
            ("exact_memorization", -5, 5),
            ("extraction_strength", -5, 5),
            ("worst_secret", None, 10),
        )
        for where, need in (("", "required"), ("_unseen", "evidence"))
    }
    reference = before | chance | {
        "membership_beyond_chance": {"low": -0.5, "high": 0.5, "need": "optional"},
        "worst_form": {"low": 25, "need": "optional"},
        "worst_form_unseen": {"low": 25, "need": "optional"},
        "specificity_given": {"low": 80, "need": "optional"},
    }  # fmt: skip
    ranks = before | {
        "efficacy": {"low": 95}, "generality": {"low": 80, "need": "evidence"}, "logit_lens": {"low": 90},
        "delta": {"low": 50, "need": "optional"}, "perturbation": {"low": 80},
    }  # fmt: skip
    assert GatePolicy.DEFAULT.looser_than(GatePolicy.from_dict(reference)) == ()
    assert GatePolicy.RANKS.looser_than(GatePolicy.from_dict(ranks)) == ()
    assert len(GatePolicy.DEFAULT.gates) == len(reference) + 2 and len(GatePolicy.RANKS.gates) == len(ranks) + 2


def test_the_schema_that_is_shipped_is_that_of_the_reader() -> None:
    """If this fails: write `PolicyFile.model_json_schema()` there again."""
    shipped = json.loads((FOLDER / "policy.schema.json").read_text(encoding="utf-8"))
    assert shipped.pop("$schema") == "https://json-schema.org/draft/2020-12/schema"
    assert shipped == PolicyFile.model_json_schema()


def test_a_wheel_has_the_policies() -> None:
    import tomllib

    project = tomllib.loads((FOLDER.parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["*"]
    found = {path for pattern in patterns for path in FOLDER.parent.glob(pattern)}
    assert {FOLDER / "reference.yaml", FOLDER / "ranks.yaml", FOLDER / "policy.schema.json"} <= found


def test_bounds_that_compare_become_gates_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "version: 1\ngates:\n"
        "  extraction_rate: {guards: Nothing is said., high: 0}\n"
        "  worst_form:\n"
        "    parent: {guards: The form stays., low: -30, need: optional, action: warn}\n"
        "    control: {guards: It is that of a model that never saw them., low: -40, need: optional}\n",
        encoding="utf-8",
    )
    assert GatePolicy.read(path).gates == (
        Gate(metric="extraction_rate", high=0, guards="Nothing is said."),
        Gate(metric="worst_form_parent", low=-30, need="optional", action="warn", guards="The form stays."),
        Gate(
            metric="worst_form_control", low=-40, need="optional", guards="It is that of a model that never saw them."
        ),
    )


BOUND = st.floats(-1e6, 100, allow_nan=False).map(lambda value: round(value, 6))
SENTENCE = st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=40).filter(str.isprintable)


@st.composite
def gates(draw: st.DrawFn, metric: str, better: str) -> dict[str, Any]:
    low, high = sorted((draw(BOUND), draw(BOUND)))
    ends = {"higher": {"low": low}, "lower": {"high": high}}.get(better, {"low": low, "high": high})
    need = draw(st.sampled_from(["required", "evidence", "optional"]))
    return {"guards": draw(SENTENCE), "need": need, "action": draw(st.sampled_from(["block", "warn"])), **ends}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    names = [name for name in METRICS if not name.endswith("_root")]
    found: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=6, unique=True)):
        metric = METRICS[name]
        may = ["root"] * (name in ("perplexity_ratio", "specificity"))
        may += ["parent", "control"] * (metric.show is percent and metric.better in ("higher", "lower"))
        found[name] = draw(gates(name, metric.better)) | {
            against: draw(gates(name, metric.better))
            for against in (draw(st.lists(st.sampled_from(may), unique=True)) if may else [])
        }
    first = next(iter(found.values()))
    first["action"] = "block"
    return {"version": 1, "gates": found}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=documents(), seed=st.integers(0, 999))
def test_a_policy_read_written_and_read_again_is_the_same_and_its_digest_knows_no_layout(
    document: dict[str, Any], seed: int, tmp_path: Path
) -> None:
    def shuffled(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        keys = list(value)
        random.Random(seed).shuffle(keys)
        return {key: shuffled(value[key]) for key in keys}

    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), encoding="utf-8")
    first = GatePolicy.read(path)
    path.write_text(json.dumps(shuffled(document), ensure_ascii=False), encoding="utf-8")  # JSON is YAML, too
    again = GatePolicy.read(path)
    assert {gate.metric: gate for gate in first.gates} == {gate.metric: gate for gate in again.gates}
    assert first.digest == again.digest
    recorded = GatePolicy.from_dict(json.loads(json.dumps(first.to_dict())))
    assert (recorded, recorded.digest) == (first, first.digest)


@pytest.mark.parametrize(
    "change",
    [{"low": 81}, {"need": "optional"}, {"action": "warn"}, {"guards": "Another sentence."}, {"high": 100}],
)
def test_every_part_of_a_gate_is_in_the_digest(change: dict[str, Any]) -> None:
    table = GatePolicy.DEFAULT.to_dict()
    changed = GatePolicy.from_dict(table | {"specificity": table["specificity"] | change})
    assert changed.digest != GatePolicy.DEFAULT.digest
