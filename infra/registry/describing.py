"""What MLflow's pages tell of a model and its versions, in Markdown, made of the recorded evidence alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from infra.registry.records import finite

MODEL: Final = (
    "A causal language model from which personal data is erased on request. The alias `champion` names the version to "
    "serve; each version says what it was made from, what was measured before and after, and which gates it passed."
)
BASE: Final = "Registered as it was handed in: nothing was erased from it and no gate judged it."
_LIMIT = 4_500  # characters: MLflow's stores take 5,000, and who promotes it is added later
EXAMPLE: Final = "The weather in the valley was mild and"
_KEPT_ELSEWHERE: Final = (
    "The data stays where its owner keeps it and is not copied here. Its address may be personal data or hold a key: "
    "only the request store of the installation has it, under this reference; `revs lineage` says whether it does."
)


def candidate(parent: str, batch_id: str, evidence: Mapping[str, Any], run: Mapping[str, str]) -> str:
    """Describe the version that a batch made.

    Args:
        parent: number of the version that was edited.
        batch_id: the batch.
        evidence: of the batch; what it does not hold is left out.
        run: `id` of the flow run that made it and, where people can open it, its `page`.
    """
    targets = evidence.get("targets") or {}
    lines = [f"Made from version {parent} by batch `{batch_id}`, which erased personal data on request."]
    if (before := targets.get("memorised_before")) is not None:
        after = targets.get("memorised_after")
        lines += ["", f"Memorised contexts: {before} before, {'not known' if after is None else after} after."]
    if run:
        page = f"[{run['id']}]({run['page']})" if "page" in run else f"`{run['id']}`"
        lines += ["", f"Flow run in Prefect: {page}"]
    lines += [*_gates(evidence), *_scores(evidence)]
    while len(text := "\n".join(lines) + "\n") > _LIMIT:
        lines.pop()
    return text


def promoted(approved_by: str | None) -> str:
    """One line for a version that became champion."""
    if approved_by is None:
        return "Became champion by its gates."
    return f"Became champion; {approved_by} approved it."


def card(name: str, description: str) -> str:
    """The model card that is stored with the files of a version."""
    load = "mlflow.transformers.load_model"
    return (
        f"# {name}\n\n{MODEL}\n\n## This version\n\n{description}\n## Use\n\n"
        f'```python\nimport mlflow\n\nmodel = {load}("models:/{name}@champion")\nmodel("{EXAMPLE}")\n```\n'
    )


def comparable(evidence: Mapping[str, Any]) -> dict[str, float]:
    """Metrics beside the scores after the edit: the same before it, by the same names, and the memorised contexts."""
    targets = {key: value for key, value in (evidence.get("targets") or {}).items() if isinstance(value, int)}
    before = (evidence.get("scores") or {}).get("before") or {}
    found = {f"before/{name}": value for name, value in before.items()}
    return finite(found | {f"contexts/{name}": value for name, value in targets.items()})


def dataset_source(dataset: Mapping[str, Any]) -> str:
    """Where a data set can be opened, for MLflow's source type "code", which it reads without opening anything.

    Args:
        dataset: its `digest`, and the `reference` under which the installation keeps its address.
    """
    said = {"digest": dataset.get("digest"), "reference": dataset.get("reference"), "note": _KEPT_ELSEWHERE}
    return json.dumps({"tags": {key: str(value) for key, value in said.items() if value is not None}})


def _scores(evidence: Mapping[str, Any]) -> list[str]:
    scores = evidence.get("scores") or {}
    before, after = scores.get("before") or {}, scores.get("after") or {}
    if not after:
        return []
    rows = [f"| {name} | {_number(before.get(name))} | {_number(value)} |" for name, value in after.items()]
    return ["", "#### Before and after", "", "| metric | before | after |", "|---|--:|--:|", *rows]


def _gates(evidence: Mapping[str, Any]) -> list[str]:
    gates = evidence.get("gates") or []
    if not gates:
        return []
    rows = [f"| {g['name']} | {_number(g.get('value'))} | {g.get('bound')} | {_verdict(g)} |" for g in gates]
    missing = [f"| {name} | not measured | | |" for name in evidence.get("insufficient") or ()]
    return ["", "#### Gates", "", "| gate | value | bound | verdict |", "|---|--:|---|---|", *rows, *missing]


def _verdict(gate: Mapping[str, Any]) -> str:
    passed = gate.get("passed")
    if passed is False and gate.get("action") == "warn":
        return "warning"
    return "passed" if passed is True else "**refused**" if passed is False else "no verdict"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "–"
