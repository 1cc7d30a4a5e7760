"""Stages 9 to 12: register the candidate, move the alias, close the batch, write the report."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from infra.settings import load_settings
from infra.workspace import Workspace
from tasks.auditing import audit_batch
from tasks.evidence import build_evidence, code_commit
from tasks.lineage import registered_detail
from tasks.records import Closed, Registered, Reported
from tasks.stage import handles, stage


@stage("register candidate")
def register_candidate(batch_id: str, attempt: int) -> Registered:
    """Register the checkpoint that passed, with its lineage and evidence. A second call finds the same version."""
    h = handles(batch_id)
    record = h.workspace.read("registered")
    if record is None:
        evidence = build_evidence(h, attempt=attempt, status="open", candidate=None)
        edit = h.workspace.require(f"edit-{attempt}")
        version = h.registry.register_candidate(
            h.workspace.folder / edit["folder"],
            parent=h.registry.resolve(h.batch.source),
            batch_id=batch_id,
            lineage={
                "requests": [request["digest"] for request in evidence["requests"]],
                "config": edit["config"],
                "code_commit": code_commit(),
                "weights_before": edit["weights_before"],
                "weights_after": edit["weights_after"],
                "datasets": evidence["datasets"],
                "seed": evidence["seed"],
                **_inherited(h.registry.resolve(h.batch.source).tags),
            },
            metrics=evidence["scores"]["after"],
            evidence=evidence,
        )
        h.store.record("version.registered", batch_id=batch_id, detail=registered_detail(version))
        record = h.workspace.write("registered", {"name": version.name, "version": version.version})
    return Registered(name=record["name"], version=record["version"])


def _inherited(tags: dict[str, str]) -> dict[str, str]:
    """What the next batch needs to know of the model: its corpus and what it is measured with."""
    return {key: tags[f"revs.{key}"] for key in ("corpus", "held_out", "control") if f"revs.{key}" in tags}


@stage("move champion alias")
def promote_candidate(batch_id: str) -> Registered:
    """Point the champion alias to the candidate, if the champion is still the version it was made from."""
    h = handles(batch_id)
    record = h.workspace.require("registered")
    version = h.registry.resolve(f"models:/{record['name']}/{record['version']}")

    def move() -> dict[str, str]:
        h.registry.promote(version, expected_champion=h.registry.resolve(h.batch.source))
        h.store.record(
            "version.promoted", batch_id=batch_id, detail={"version": version.uri, "instead_of": h.batch.source}
        )
        return {"version": version.version}

    h.workspace.once("promoted", move)
    return Registered(name=record["name"], version=record["version"])


@stage("close batch")
def close_batch(batch_id: str, attempt: int | None, status: Literal["completed", "refused"]) -> Closed:
    """Record the final evidence and close the batch in one transaction; "completed" destroys the payloads.

    Of a refused batch the requests are handed to a human as failed: an unattended schedule must not try them for ever.
    """
    h = handles(batch_id)
    if h.batch.status == "open":
        record = h.workspace.read("registered")
        if status == "refused":
            failed = [gate["name"] for gate in h.workspace.require(f"gates-{attempt}")["gates"] if not gate["passed"]]
            for request_id in h.store.identifiers(batch_id):
                h.store.fail(request_id, f"no setting passed the gates: {', '.join(failed)}")
        evidence = build_evidence(h, attempt=attempt, status=status, candidate=record["version"] if record else None)
        h.store.close_batch(batch_id, status=status, outcome={"evidence": evidence})
    completed = sum(view.status == "completed" for view in h.store.list(batch_id=batch_id))
    return Closed(batch_id=batch_id, status=status, completed=completed)


@stage("write report")
def report_batch(batch_id: str, folder: str | None = None) -> Reported:
    """Write the report of a closed batch from its recorded evidence, into `folder` or the installation's reports.

    With that the batch is done and its working folder goes; while it is there, the report is still owed.
    """
    settings = load_settings()
    result = audit_batch(settings, batch_id, Path(folder) if folder else None)
    Workspace(settings.work_dir, batch_id).remove()
    return Reported(path=result["report"])
