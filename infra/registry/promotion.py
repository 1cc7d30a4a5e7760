"""Whether a candidate may become champion: judged anew from what was recorded, not from a list of verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.gates.comparison import with_comparisons
from infra.gates.policy import GatePolicy, GateReport, check_gates
from infra.registry.records import PARENT, ModelVersion
from revs.errors import BadInput, GateRefused


def judge_evidence(version: ModelVersion, evidence: Mapping[str, Any], policy: GatePolicy) -> GateReport:
    """Judge the recorded scores of a version by its recorded policy, and compare with the recorded verdicts.

    Args:
        version: for the messages.
        evidence: `scores`, `policy` with its digest, and `gates` are read; older evidence has no digest.
        policy: this installation's; the recorded one may be stricter, never looser.

    Raises:
        GateRefused: scores, policy or verdicts are not recorded, the policy is not the one of the recorded digest or is
            looser, or the verdicts are others than the scores give.
    """
    scores = (evidence.get("scores") or {}).get("after")
    if not evidence.get("gates") or not scores:
        raise GateRefused(f"{version.uri} carries no gate results: nothing was promoted; run the gates on it first")
    recorded = _recorded_policy(version, evidence)
    if looser := recorded.looser_than(policy):
        raise GateRefused(
            f"{version.uri} was judged by a policy that is looser than this installation's in {', '.join(looser)}: "
            "nothing was promoted; give its batch up with 'revs batches abandon': the next one is judged by today's"
        )
    report = check_gates(with_comparisons(evidence["scores"]), recorded)
    if differing := _differing(evidence["gates"], report):
        raise GateRefused(
            f"the recorded gates of {version.uri} are not those that its recorded scores give, in "
            f"{', '.join(differing)}: one was changed afterwards; nothing was promoted, do not rely on it"
        )
    return report


def require_promotable(version: ModelVersion, report: GateReport, *, approved_by: str | None) -> None:
    """Refuse what failed, and what lacks evidence unless a named human answers for it.

    Raises:
        GateRefused: a gate failed or none could be judged; or evidence is insufficient and nobody approved.
    """
    if report.problem:
        raise GateRefused(f"no gate of {version.uri} could be judged: {report.problem}; nothing was promoted")
    if report.verdict == "refused":
        raise GateRefused(f"{version.uri} did not pass {', '.join(report.failed)}: nothing was promoted")
    if report.verdict == "insufficient" and approved_by is None:
        raise GateRefused(
            f"insufficient evidence for {version.uri}: {report.why_insufficient}; nothing was promoted: a human may, "
            f"with 'revs promote {version.uri} --approved-by NAME'"
        )


def require_parent(version: ModelVersion, expected: ModelVersion) -> None:
    """Refuse a candidate that was compared with another version than the one it would replace.

    Raises:
        GateRefused: the version was not made from `expected`.
    """
    parent = version.tags.get(PARENT)
    if parent != expected.version or version.name != expected.name:
        raise GateRefused(
            f"{version.uri} was made from and compared with version {parent}, not {expected.uri}: "
            "nothing was promoted; promote it against its parent"
        )


def _recorded_policy(version: ModelVersion, evidence: Mapping[str, Any]) -> GatePolicy:
    table = evidence.get("policy")
    try:
        if isinstance(table, Mapping):
            return _of_digest(version, GatePolicy.from_dict(table), evidence.get("policy_digest"))
    except BadInput as error:
        raise GateRefused(
            f"the recorded policy of {version.uri} cannot be read ({error}); nothing was promoted: process the batch "
            "again"
        ) from None
    raise GateRefused(
        f"{version.uri} does not say by which policy it was judged: nothing was promoted; process the batch again"
    )


def _of_digest(version: ModelVersion, policy: GatePolicy, digest: object) -> GatePolicy:
    if digest not in (None, policy.digest):
        raise GateRefused(
            f"the recorded policy of {version.uri} is not the one whose digest is recorded beside it: its digest is "
            f"{policy.digest}; nothing was promoted, do not rely on it"
        )
    return policy


def _differing(recorded: Any, report: GateReport) -> list[str]:
    """Names of the gates whose recorded value, bound or verdict is not the one that the scores give."""
    entries = [entry for entry in recorded if isinstance(entry, Mapping)] if isinstance(recorded, list) else []
    said = {str(entry.get("name")): dict(entry) for entry in entries}
    judged = {result.name: result.to_dict() for result in report.results}
    return sorted(name for name in said.keys() | judged.keys() if said.get(name) != judged.get(name))
