"""What a version has lost since the root of its lineage, from the signed record of each edit before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from infra.gates.comparison import SINCE_ROOT, since_root
from infra.registry import ModelVersion, Registry
from infra.registry.records import PARENT
from revs.errors import OperationFailed


def since_root_of(
    registry: Registry, parent: ModelVersion, scores: Mapping[str, Any]
) -> tuple[dict[str, float], str | None]:
    """The numbers of a version since the root of its lineage; nothing is loaded or measured.

    What an earlier version's evidence does not hold is not guessed: the number is left out, and no gate passes on it.

    Args:
        registry: where the lineage is recorded.
        parent: the version that was edited; a root has no parent.
        scores: what was measured of the edited version against it.

    Returns:
        The numbers by name, and why one of them is not known, where one is not.

    Raises:
        OperationFailed: the parents go round in a circle, or the registry cannot be asked.
    """
    line = registry.ancestry(parent)
    if PARENT in line[-1].tags:
        return {}, f"the entry of version {line[-1].tags[PARENT]} of {parent.name!r} was deleted"
    try:
        registry.verify(line[-1])  # one whose parent was taken from its tags is no root
        earlier = [_recorded(registry, made, before) for made, before in pairwise(line)]
    except OperationFailed as error:
        return {}, str(error)
    found = since_root(earlier, scores)
    return found, _lacking(line, earlier, found)


def _recorded(registry: Registry, made: ModelVersion, before: ModelVersion) -> Mapping[str, Any]:
    """The scores in the verified evidence of a version.

    Raises:
        OperationFailed: it is missing, was changed, or speaks of other weights than the two versions have.
    """
    registry.verify(made)
    evidence = registry.evidence(made) or {}
    model = evidence.get("model") or {}
    if (model.get("weights_before"), model.get("weights_after")) != (before.weights, made.weights):
        raise OperationFailed(f"the evidence of {made.uri} is not about its weights and those of {before.uri}")
    return (evidence.get("scores") or {}).get("after") or {}


def _lacking(
    line: Sequence[ModelVersion], earlier: Sequence[Mapping[str, Any]], found: Mapping[str, float]
) -> str | None:
    for metric in SINCE_ROOT:
        for version, scores in zip(line, earlier, strict=False):  # the root has no scores
            if f"{metric}_root" not in found and metric not in scores:
                return f"the evidence of {version.uri} holds no {metric}"
    return None
