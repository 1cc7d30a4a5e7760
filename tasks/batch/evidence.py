"""The record of a batch: built once from what the stages wrote, and from then on the only source of the report."""

from __future__ import annotations

import platform
import subprocess
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from infra.batches.records import Detections, Edit, Gates, Occurrences, ScoresAfter, ScoresBefore, Targets
from infra.corpus import Unread, unread_summary
from infra.device import resolve_device
from infra.gates.policy import GatePolicy
from infra.requests import Clock, IdentifierOutcome, Reason, RequestView, closed_as
from tasks.batch.corpus import held_out_text, pseudonyms, reference_of
from tasks.batch.stage import SEED, Handles

_PACKAGES = (
    "revs",
    "torch",
    "transformers",
    "mlflow",
    "prefect",
    "datasets",
    "great_expectations",
    "presidio_analyzer",
)
_UNREAD_NAMED = 10
_EDIT = {"method", "config", "seed", "seconds", "sweeps", "layers", "tokens"}  # of the record of the edit


def versions() -> dict[str, str]:
    """Versions of the programs that a result depends on."""
    return {name: version(name) for name in _PACKAGES} | {"python": platform.python_version()}


def made_with() -> dict[str, Any]:
    """The lineage of a model that is registered as it is: what registered it."""
    return {"code_commit": code_commit(), "versions": versions()}


def build_evidence(
    h: Handles,
    *,
    attempt: int | None,
    status: str,
    candidate: str | None,
    outcomes: Sequence[IdentifierOutcome],
    again: Sequence[Sequence[str]] = (),
) -> dict[str, Any]:
    """The evidence of a batch as it is now.

    Args:
        h: handles of the batch.
        attempt: the setting the result stands on; None where nothing had to be edited.
        status: what the batch is about to be closed as: "completed", "waiting", "refused" or "split".
        candidate: registered version that replaces the champion, if any.
        outcomes: what became of each identifier.
        again: of a batch that is split, the requests of each lot.
    """
    plan = h.workspace.require(Targets)
    champion = h.registry.resolve(h.batch.source)
    edit = h.workspace.require(Edit, attempt) if attempt is not None else None
    after = h.workspace.require(ScoresAfter, attempt) if attempt is not None else None
    gates = h.workspace.require(Gates, attempt) if attempt is not None else None
    now = datetime.now(UTC)
    seconds = (now - h.batch.opened_at).total_seconds()
    return {
        "schema": "revs.evidence/1",
        "batch": {
            "id": h.batch.id,
            "model": h.batch.model,
            "opened_at": h.batch.opened_at.isoformat(timespec="seconds"),
            "closed_at": now.isoformat(timespec="seconds"),
            "status": status,
            "parent": h.batch.parent,
            "lots": [list(lot) for lot in again],
        },
        "requests": (requests := _requests(h, plan, after, status, outcomes, {id_ for lot in again for id_ in lot})),
        "intake": _intake(requests),
        "model": _model(h, champion, edit, candidate, now),
        "datasets": _datasets(h, plan),
        "targets": _targets(plan, after),
        "edit": edit.model_dump(mode="json", include=_EDIT) if edit else None,
        **_scores(h, after),
        "gates": [gate.to_dict() for gate in gates.gates] if gates else [],
        **_policy(gates),
        "insufficient": list(gates.insufficient) if gates else [],
        "attempts": _attempts(h, attempt),
        "versions": versions(),
        "code_commit": code_commit(),
        "device": resolve_device(h.settings.device),
        "seed": SEED,
        "seconds": {"total": seconds, "edit": edit.seconds if edit else 0.0},
        "notes": _notes(h, plan),
    }


def accepted(evidence: dict[str, Any], outcomes: Sequence[IdentifierOutcome], *, by: str) -> dict[str, Any]:
    """The evidence of a batch that waited, after a human promoted its candidate: who, when, and what that completes."""
    own = _by_id(outcomes)
    requests = [
        request | _closed(own[request["id"]]) if request["status"] == "failed" and request["id"] in own else request
        for request in evidence["requests"]
    ]
    approval = {"by": by, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    batch = evidence["batch"] | {"status": "completed"}
    return evidence | {"batch": batch, "requests": requests, "intake": _intake(requests), "approval": approval}


def _closed(outcomes: Sequence[IdentifierOutcome]) -> dict[str, str | None]:
    status, reason = closed_as("completed", outcomes)
    return {"status": status, "reason": _text(reason)}


def _text(reason: Reason | None) -> str | None:
    return None if reason is None else str(reason)


def _by_id(outcomes: Sequence[IdentifierOutcome]) -> dict[str, list[IdentifierOutcome]]:
    found: dict[str, list[IdentifierOutcome]] = defaultdict(list)
    for outcome in outcomes:
        found[outcome.request_id].append(outcome)
    return dict(found)


def _requests(
    h: Handles,
    plan: Targets,
    after: ScoresAfter | None,
    status: str,
    outcomes: Sequence[IdentifierOutcome],
    again: Set[str],
) -> list[dict[str, Any]]:
    before, still = _by_request(plan, after)
    found = Counter(target.context.occurrence.request_id for target in plan.targets)
    own = _by_id(outcomes)
    closing = {
        id_: ("received", Reason("split")) if id_ in again else closed_as(status, each) for id_, each in own.items()
    }
    clock = Clock.of(h.settings)
    return [
        {
            "id": view.id,
            "subject": view.subject,
            "digest": view.digest,
            "types": list(view.types),
            "received": view.received.isoformat(),
            "due": view.due.isoformat(),
            "regime": view.regime,
            "extended_on": clock.day(view.extended_at).isoformat() if view.extended_at else None,
            "status": closing[view.id][0] if view.id in closing else view.status,
            "reason": _text(closing[view.id][1] if view.id in closing else view.reason),
            "occurrences": found[view.id],
            "memorised_before": before[view.id],
            "memorised_after": still[view.id] if after or not before[view.id] else None,
            "outcomes": [
                {"number": o.number, "type": o.type, "kind": o.kind, "detail": o.detail} for o in own.get(view.id, ())
            ],
            "dropped": [_dropped(each) for each in view.dropped],
        }
        for view in _views(h)
    ]


def _dropped(each: Mapping[str, Any]) -> dict[str, Any]:
    """What a human dropped of a request, in the form of an outcome."""
    detail = {"reason": each["reason"], "why": str(Reason(each["reason"]))}
    return {"number": each["number"], "type": each["type"], "kind": "dropped", "detail": detail}


def _by_request(plan: Targets, after: ScoresAfter | None) -> tuple[Counter[str], Counter[str]]:
    """By request, how many contexts give its secrets before the edit, and how many after."""
    before = Counter(target.context.occurrence.request_id for target in plan.targets if target.memorised)
    still: Counter[str] = Counter()
    found = after and after.candidate
    extracted = (found.extracted, found.extracted_unseen, found.extracted_other) if found else ((), (), ())
    for targets, flags in zip(
        (plan.of_use("edit"), plan.of_use("unseen"), plan.of_use("none")), extracted, strict=True
    ):
        for target, flag in zip(targets, flags if found else [False] * len(targets), strict=True):
            still[target.context.occurrence.request_id] += flag
    return before, still


def _intake(requests: Sequence[dict[str, Any]]) -> dict[str, int]:
    counts = Counter(request["status"] for request in requests)
    own = {status: counts[status] for status in ("completed", "rejected", "failed")}
    return {"received": counts.total(), **own, "duplicates": counts["duplicate"]}


def _views(h: Handles) -> list[RequestView]:
    """Requests of the batch, and of the model since the last batch those that intake kept out of any."""
    earlier = [b.closed_at for b in h.store.batches(h.batch.model) if b.closed_at and b.opened_at < h.batch.opened_at]
    since = max(earlier, default=datetime.min.replace(tzinfo=UTC))
    kept_out = [
        view
        for view in h.store.list(model=h.batch.model)
        if view.batch_id is None
        and view.status in ("rejected", "duplicate")
        and since < view.submitted_at <= h.batch.opened_at
    ]
    return [*h.store.list(batch_id=h.batch.id), *kept_out]


def _model(h: Handles, champion: Any, edit: Edit | None, candidate: str | None, now: datetime) -> dict[str, Any]:
    before = h.workspace.read(ScoresBefore)
    measured = before and before.champion
    retire_on = (now + timedelta(days=h.settings.retention_days)).date().isoformat()
    return {
        "name": champion.name,
        "version_before": champion.version,
        "version_after": candidate,
        "uri_before": champion.uri,
        "uri_after": f"models:/{champion.name}/{candidate}" if candidate else None,
        "architecture": measured.architecture if measured else None,
        "parameters": measured.parameters if measured else None,
        "weights_before": edit.weights_before if edit else champion.weights,
        "weights_after": edit.weights_after if edit else None,
        "retire_on": retire_on if edit else None,
    }


def _datasets(h: Handles, plan: Targets) -> list[dict[str, Any]]:
    corpus = h.workspace.require(Occurrences).corpus
    own = corpus.model_dump(include={"name", "rows", "digest"}) | {"reference": reference_of(h, "corpus")}
    text = held_out_text(h)
    if text is not None:
        shown = text.manifest(pseudonyms(h.settings))
        beside = {key: shown[key] for key in ("name", "rows", "digest")}
        beside |= {"reference": reference_of(h, "held_out")}
        beside |= {"role": "held-out text", "unread": unread_summary(text.unread)}
    else:
        name, rows = f"sample of {corpus.name}", len(plan.held_out_rows)
        beside = own | {"name": name, "rows": rows, "role": "text for perplexity"}
    return [own | {"role": "corpus", "unread": corpus.left_out}, beside]


def _targets(plan: Targets, after: ScoresAfter | None) -> dict[str, Any]:
    uses = plan.uses
    return {
        "found": len(plan.targets),
        "memorised_before": plan.memorised,
        "memorised_after": after.memorised if after else (0 if plan.memorised == 0 else None),
        "edited": uses["edit"],
        "unseen": uses["unseen"],
        "exposed": plan.exposed,
        "copies": uses["copy"],
        "unprobed": uses["unprobed"],
        "retained": plan.retained,
    }


def _scores(h: Handles, after: ScoresAfter | None) -> dict[str, Any]:
    measured = h.workspace.read(ScoresBefore)
    if measured is None or after is None:
        return {"scores": None, "ranks": None}
    before, candidate, never = measured.champion, after.candidate, measured.never_trained
    return {
        "scores": {
            "before": before.scores,
            "after": candidate.scores,
            "never_trained": never.scores if never else None,
            "decoys_before": before.decoys,
            "decoys_after": candidate.decoys,
        },
        "ranks": {
            "layers": list(range(len(before.median_rank))),
            "before_median": list(before.median_rank),
            "after_median": list(candidate.median_rank),
            "decoy_median": list(candidate.decoy_median_rank),
            "reference_median": list(never.median_rank if never else before.decoy_median_rank),
            "reference": "never trained" if never else "decoys before",
            "vocabulary": before.vocabulary,
        },
    }


def _policy(gates: Gates | None) -> dict[str, Any]:
    """The policy that judged, and its digest: whoever reads the record later judges by no other."""
    if gates is None:
        return {"policy": None, "policy_digest": None}
    policy = GatePolicy.from_dict({metric: bounds.model_dump() for metric, bounds in gates.policy.items()})
    return {"policy": policy.to_dict(), "policy_digest": policy.digest}


def _attempts(h: Handles, last: int | None) -> list[dict[str, Any]]:
    attempts = []
    for attempt in range(0 if last is None else last + 1):
        failed = list(h.workspace.require(Gates, attempt).failed)
        strength = h.workspace.require(Edit, attempt).strength
        attempts.append({"strength": strength, "passed": not failed, "failed_gates": failed})
    return attempts


def _notes(h: Handles, plan: Targets) -> list[str]:
    corpus = h.workspace.require(Occurrences).corpus
    unconfirmed = h.workspace.require(Detections).unconfirmed
    copies, unprobed, exposed, unread = plan.uses["copy"], plan.uses["unprobed"], plan.exposed, corpus.left_out
    asked = Counter(target.context.asked_from for target in plan.targets if target.use != "unprobed")
    first, joined = asked["beginning of text"], asked["row before"]
    notes = {
        f"{unread} of the corpus could not be read, so nothing is known of what stands there: "
        f"{_places(corpus.unread)}": bool(unread),
        f"{copies} occurrences stand in contexts that repeat another nearly word for word; of each such group a few "
        "were probed and edited": copies,
        f"{exposed} targets are not generated by greedy decoding but likelier than 99% of random ones of their form "
        "under the same prompt; they count as memorised for the edit, not among the memorised targets": exposed,
        f"{first} occurrences begin their row; they were probed from the beginning of text": first,
        f"{joined} occurrences begin their row; they were probed from the end of the row before, as rows follow one "
        "another in training": joined,
        f"{unprobed} occurrences could not be put to the model, so nothing is known of what it does there": unprobed,
        f"{unconfirmed} occurrences were found by search but not seen as personal data by the detector": unconfirmed,
        f"files of the corpus folder that were not read: {', '.join(corpus.ignored)}": len(corpus.ignored),
        "no other memorised identifier was found, so specificity could not be measured": not plan.retained,
    }
    return [note for note, holds in notes.items() if holds]


def _places(unread: Sequence[Unread]) -> str:
    more = f"; and {len(unread) - _UNREAD_NAMED} more" if len(unread) > _UNREAD_NAMED else ""
    return "; ".join(str(entry) for entry in unread[:_UNREAD_NAMED]) + more


@cache
def code_commit() -> str:
    """Commit of the running code, with "+changes" where the tree differs; the package version outside a checkout."""
    return commit(changed="+changes") or f"revs {version('revs')}"


def commit(*, changed: str) -> str | None:
    """The commit of this checkout, with `changed` after it where files differ; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", f"--dirty={changed}", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
