"""Stages 9 to 12: register the candidate, move the alias, close the batch, write the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.batches.records import Edit, PromotedVersion, RegisteredVersion
from infra.requests import ClosingStatus
from tasks.batch.evidence import build_evidence, code_commit
from tasks.batch.halving import halves
from tasks.batch.outcomes import outcomes
from tasks.batch.pages import keep_outcome, run_reference
from tasks.batch.results import Closed, Verdict
from tasks.batch.stage import Handles, handles, stage
from tasks.versions.audit import audit_batch
from tasks.versions.lineage import registered_detail
from tasks.versions.served import PROMOTED, REGISTERED


@stage("register candidate")
def register_candidate(batch_id: str, attempt: int) -> RegisteredVersion:
    """Register the checkpoint that passed, with its lineage and evidence. A second call finds the same version."""
    h = handles(batch_id)
    record = h.workspace.read(RegisteredVersion)
    if record is None:
        evidence = build_evidence(h, attempt=attempt, status="open", candidate=None, outcomes=outcomes(h, "passed"))
        edit = h.workspace.require(Edit, attempt)
        h.lease.check()
        version = h.registry.register_candidate(
            h.workspace.folder / edit.folder,
            parent=h.registry.resolve(h.batch.source),
            batch_id=batch_id,
            lineage={
                "requests": [request["digest"] for request in evidence["requests"]],
                "config": edit.config,
                "code_commit": code_commit(),
                "weights_before": edit.weights_before,
                "weights_after": edit.weights_after,
                "datasets": evidence["datasets"],
                "seed": evidence["seed"],
                **_inherited(h.registry.resolve(h.batch.source).tags),
            },
            metrics=evidence["scores"]["after"],
            evidence=evidence,
            run=run_reference(),
        )
        _record_once(h, REGISTERED, registered_detail(version))
        record = h.workspace.write(RegisteredVersion(model=version.name, number=version.version))
    return record


def _record_once(h: Handles, event: str, detail: dict[str, Any]) -> None:
    """Write a line of the audit log that is not there yet: a stage may run again."""
    if not any(line.event == event and line.detail == detail for line in h.store.events(batch_id=h.batch.id)):
        h.store.record(event, batch_id=h.batch.id, detail=detail)


def _inherited(tags: dict[str, str]) -> dict[str, str]:
    """What the next batch needs to know of the model: its corpus and what it is measured with."""
    return {key: tags[f"revs.{key}"] for key in ("corpus", "held_out", "control") if f"revs.{key}" in tags}


@stage("move champion alias")
def promote_candidate(batch_id: str) -> RegisteredVersion:
    """Point the champion alias to the candidate, if the champion is still the version it was made from."""
    h = handles(batch_id)
    record = h.workspace.require(RegisteredVersion)
    version = h.registry.resolve(f"models:/{record.model}/{record.number}")

    def move() -> PromotedVersion:
        with h.store.moving_alias(version.name):
            h.lease.check()
            h.registry.promote(version, expected_champion=h.registry.resolve(h.batch.source))
            _record_once(h, PROMOTED, {"version": version.uri, "instead_of": h.batch.source})
        return PromotedVersion(number=version.version)

    h.workspace.once(PromotedVersion, move)
    return record


@stage("close batch")
def close_batch(batch_id: str, verdict: Verdict | None) -> Closed:
    """Record the outcome of every identifier and the final evidence, and close the batch, in one transaction.

    Requests of which every identifier is settled are completed, and their payloads destroyed. Those that a refused edit
    was for are tried again in two halves (`halving`). All others are handed to a human: an unattended schedule must not
    try them for ever.
    """
    h = handles(batch_id)
    if h.batch.status == "open":
        status = _closing_status(verdict)
        failed = verdict.failed_gates if verdict else ()
        found = outcomes(h, "refused" if status == "refused" else "passed", failed_gates=failed)
        again = halves(h) if status == "refused" else ()
        status = "split" if again else status
        record = h.workspace.read(RegisteredVersion)
        evidence = build_evidence(
            h,
            attempt=verdict.attempt if verdict else None,
            status=status,
            candidate=record.number if record else None,
            outcomes=found,
            again=again,
        )
        h.store.close_batch(batch_id, status=status, outcome={"evidence": evidence}, outcomes=found, again=again)
    views = h.store.list(batch_id=batch_id)
    return Closed(
        batch_id=batch_id,
        status=h.store.batch(batch_id).status,
        completed=sum(view.status == "completed" for view in views),
        handed_on=sum(view.status == "failed" for view in views),
        tried_again=sum(view.lot is not None for view in views),
        parent=h.batch.parent,
    )


def _closing_status(verdict: Verdict | None) -> ClosingStatus:
    if verdict is None or verdict.promotable:
        return "completed"
    return "waiting" if verdict.registrable else "refused"


@stage("write report")
def report_batch(batch_id: str) -> str:
    """Write the report of a closed batch from its recorded evidence, into the installation's reports.

    With that the batch is done and its working folder goes; while it is there, the report is still owed.
    """
    h = handles(batch_id)
    # The candidate was verified when it was registered and promoted, moments ago: not all weights once more.
    result = audit_batch(h.settings, batch_id, None, read_weights=False)
    keep_outcome(h.settings, batch_id, Path(result["report"]))
    h.discard()
    h.lease.release()
    return str(result["report"])
