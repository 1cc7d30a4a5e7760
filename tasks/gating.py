"""The gates as a door of their own: judge any registered version by what was measured on exactly its weights."""

from __future__ import annotations

from infra.gates import GatePolicy, GateReport, check_gates
from infra.registry import ModelVersion, weight_digest
from infra.settings import Settings
from revs.errors import GateRefused
from tasks.stage import open_registry


def judge_version(settings: Settings, model_uri: str) -> tuple[ModelVersion, GateReport]:
    """Judge the recorded metrics of a version, after checking that its stored weights are the measured ones.

    Raises:
        BadInput: no such version.
        GateRefused: it carries no measurements, or its weights are not those that were measured.
    """
    registry = open_registry(settings)
    version = registry.resolve(model_uri)
    evidence = registry.evidence(version)
    scores = ((evidence or {}).get("scores") or {}).get("after")
    if evidence is None or not scores:
        raise GateRefused(
            f"{version.uri} carries no measurements: it was never edited and attacked here, so nothing says that it "
            "has forgotten anybody; process its deletion requests first"
        )
    if weight_digest(registry.download(version)) != evidence["model"]["weights_after"]:
        raise GateRefused(f"{version.uri} is not the model that was measured: its weights differ; do not serve it")
    return version, check_gates(scores, GatePolicy.DEFAULT)
