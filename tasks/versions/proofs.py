"""What is checked of one version of a chain. A check that fails names the version and what does not hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.keys.signer import short
from infra.registry import ModelVersion, Registry, changed_tensors
from infra.registry.reading import Recorded, signed_by
from infra.registry.records import CHAMPION, EVIDENCE, PARENT, RETIRED, SIGNER, STATUS, sha256
from infra.registry.signatures import REPORT_LIST, Signature, report_faults
from revs.errors import OperationFailed
from tasks.versions.lineage import contradictions, registered_detail, signature_lost
from tasks.versions.on_record import OnRecord

_DOCUMENTS = ("evidence.json", "lineage.json", "policy.json")
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. `holds` is None where it cannot be told, and `said` says why."""

    name: str
    holds: bool | None
    said: str


def _check(name: str, version: ModelVersion, faults: Iterable[str], *, good: str) -> Check:
    """It holds where there is no fault; else the faults are named, after the version."""
    if not (text := "; ".join(dict.fromkeys(faults))):
        return Check(name=name, holds=True, said=good)
    return Check(name=name, holds=False, said=text if version.uri in text else f"{version.uri}: {text}")


def missing_entry(version: ModelVersion) -> Check:
    """Of a version whose entry in the registry was deleted."""
    return _check("entry", version, ["its entry in the registry was deleted"], good="")


def circle(version: ModelVersion, parent: str) -> Check:
    """Of a version whose parent is made from it."""
    fault = f"its parent {parent} is made from it: the parents go round in a circle, so a tag {PARENT!r} was changed"
    return _check("circle", version, [fault], good="")


def signature(registry: Registry, record: OnRecord, version: ModelVersion) -> tuple[Signature | None, Check]:
    """The verified signature of a version, which holds for its tags and the documents beside its files."""
    try:
        found = registry.verify(version)
    except OperationFailed as fault:
        return None, _check("signature", version, [str(fault)], good="")
    if found is not None:
        return found, Check(name="signature", holds=True, said=f"{signed_by(found)}, its tags and documents too")
    if signature_lost(record.store, version):
        return None, _check("signature", version, ["its signature is gone, and it was signed when registered"], good="")
    return None, Check(name="signature", holds=None, said="not signed: registered before versions were signed")


def evidence(version: ModelVersion, recorded: Recorded) -> Check:
    """The evidence is the one that the version's tag names, and both name the version's weights."""
    data, tagged = recorded.documents.get("evidence.json"), version.tags.get(EVIDENCE)
    if data is None and tagged is None:
        return Check(name="evidence", holds=None, said="none: no batch made it")
    faults: list[str] = []
    if data is None:
        faults.append("its evidence is gone")
    elif sha256(data) != tagged:
        faults.append(f"its evidence was changed after it was recorded, or its tag {EVIDENCE!r} was")
    elif _weights_measured(data) not in (None, version.weights):
        faults.append("its evidence is about other weights")
    return _check("evidence", version, faults, good="as recorded, about these weights")


def report(registry: Registry, record: OnRecord, version: ModelVersion, recorded: Recorded) -> Check:
    """The report that is kept with a version is what was signed when its batch was closed, and what the log says."""
    kept, logged = recorded.report.get(REPORT_LIST), record.report(version)
    if logged is not None and (kept is None or sha256(kept) != logged):
        what = (
            f"{REPORT_LIST}, the signed list of its report, is {'gone' if kept is None else 'not the one of the log'}"
        )
        return _check("report", version, [what], good="")
    if not recorded.report:
        none = "none: no batch made it" if PARENT not in version.tags else "none: its batch was not closed, or not here"
        return Check(name="report", holds=None, said=none)
    if registry.signers is None:
        return Check(name="report", holds=None, said="not checked: no signers here")
    if kept is None and SIGNER in version.tags:
        return _check("report", version, [f"{REPORT_LIST}, the signed list of its report, is gone"], good="")
    if kept is None:
        return Check(name="report", holds=None, said="not signed, as the version is not")
    faults = report_faults(recorded.report, recorded.documents, registry.signers)
    return _check("report", version, faults, good="as it was signed")


def readable(version: ModelVersion, recorded: Recorded) -> tuple[dict[str, Any], list[Check]]:
    """The documents beside a version, by file name, and a check that fails for each that is no JSON object."""
    documents: dict[str, Any] = {}
    damaged: list[Check] = []
    for name in _DOCUMENTS:
        if (data := recorded.documents.get(name)) is None:
            continue
        try:
            documents[name] = dict(json.loads(data))
        except (ValueError, TypeError, RecursionError):
            damaged.append(_check("documents", version, [f"{name} is damaged"], good=""))
    return documents, damaged


def data_sets(version: ModelVersion, recorded: Recorded, lineage: Mapping[str, Any]) -> Check:
    """The data sets that MLflow shows as inputs are those of the lineage, by name and digest."""
    listed = [(str(each["name"]), str(each["digest"])) for each in lineage.get("datasets") or ()]
    if not listed and not recorded.inputs:
        return Check(name="data sets", holds=None, said="none on record")
    faults = [
        f"the data set {name} with digest {digest or 'none'} is {what}"
        for here, there, what in (
            (recorded.inputs, listed, "an input in MLflow and not in its lineage"),
            (listed, recorded.inputs, "in its lineage and no input in MLflow"),
        )
        for name, digest in here
        if (name, digest) not in there
    ]
    return _check("data sets", version, faults, good=f"{len(set(listed))}, as the lineage has them")


def descent(
    record: OnRecord, version: ModelVersion, signed: Signature | None, parent: ModelVersion | None,
    parent_signed: Signature | None,
) -> Check:  # fmt: skip
    """What was signed of the parent when the version was made is what the parent itself says, and so does its batch."""
    batch, claimed = record.batch_of(version), _claimed_parent(version, signed)
    if parent is None:
        return Check(name="parent", holds=True, said="none: a root")
    faults: list[str] = []
    if claimed.get("uri") != parent.uri:
        faults.append(
            f"batch {batch.id if batch else '?'} made it from {parent.uri}, and it names {claimed.get('uri')}"
        )
    own = parent.weights if parent_signed is None else _claimed_weights(parent_signed)
    if signed is not None and own is not None and claimed.get("weights") != own:
        faults.append(f"it was made from weights {claimed.get('weights')}, and {parent.uri} has {own}")
    if parent_signed is not None and claimed.get("signer") not in (None, parent_signed.signer):
        faults.append(
            f"its parent was signed by {short(str(claimed['signer']))} then, by {short(parent_signed.signer)} now"
        )
    if signed is None and not faults:
        return Check(name="parent", holds=None, said=f"{parent.uri}, by its tag alone: no signature says so")
    return _check("parent", version, faults, good=f"{parent.uri}, whose weights are those that it was made from")


def _claimed_parent(version: ModelVersion, signed: Signature | None) -> Mapping[str, Any]:
    if signed is not None:
        return signed.statement["predicate"].get("revs_parent") or {}
    number = version.tags.get(PARENT)
    return {} if number is None else {"uri": f"models:/{version.name}/{number}"}


def _claimed_weights(signed: Signature) -> str:
    return str(signed.statement["predicate"]["buildDefinition"]["externalParameters"]["weights"])


def log(record: OnRecord, version: ModelVersion, registered: Mapping[str, Any] | None) -> Check:
    """The event of its registration, the record of its batch and who approved it are as the registry has them.

    Args:
        record: of the installation.
        version: as registered now.
        registered: its evidence; None: it is not what was recorded, and is not compared once more.
    """
    events, now = record.registered(version), registered_detail(version)
    faults = [
        f"its {part} is not what was registered"
        for event in events
        for part, value in now.items()
        if event.detail.get(part) != value
    ]
    faults += [] if registered is None else contradictions(record.store, version, registered)
    known = record.knows(version)
    approvers = record.approvers(version)
    if known and version.approver != (approvers[-1] if approvers else None):
        said = f"{approvers[-1]} did" if approvers else "nobody did"
        faults.append(f"its tag says that {version.approver or 'nobody'} approved it, and the log that {said}")
    if not known and SIGNER not in version.tags and record.champion is not None:
        faults.append("this installation serves the model, and neither its log nor a signature knows this version")
    if not known and not faults:
        return Check(name="log", holds=None, said="not checked: this installation has no record of its registration")
    if not events and not faults:
        return Check(name="log", holds=True, said="as its batch recorded it; older than events of registration")
    return _check("log", version, faults, good="as it was registered")


def alias(record: OnRecord, version: ModelVersion, champion: str | None) -> Check:
    """The alias, the version's status and the log agree on whether it is the champion.

    The log decides. Where it does not know which version serves, nothing can be told.
    """
    has, status, last = version.version == champion, version.tags.get(STATUS), record.champion
    serving = None if champion is None else _at(version, champion)
    names = serving.uri if serving else "no version"
    known = last is not None
    faults: list[str] = []
    if has and status != CHAMPION:
        faults.append(f"the alias {CHAMPION!r} names it, and its status is {status!r}: the alias was moved by hand")
    if known and last != names and has:
        faults.append(f"the alias {CHAMPION!r} names it, and by the log {last} was made champion last")
    if known and last != names and version.uri == last:
        faults.append(f"by the log it was made champion last, and the alias names {names}: it was moved by hand")
    if not faults and not known:
        return Check(name="alias", holds=None, said=f"not checked: this installation has no record of {names}")
    return _check("alias", version, faults, good="champion, by alias, status and log" if has else "not champion")


def _at(version: ModelVersion, number: str) -> ModelVersion:
    uri = f"models:/{version.name}/{number}"
    return ModelVersion(name=version.name, version=number, uri=uri, run_id="", source="")


def files_gone(registry: Registry, record: OnRecord, version: ModelVersion) -> Check | None:
    """Of a version without stored files, whether they may be gone; None where they are there."""
    if registry.stored_files(version):
        return None
    on, known = record.retired_on(version), record.knows(version)
    if version.tags.get(STATUS) == RETIRED and (on is not None or not known):
        day = on or "a day that this installation does not know"
        return Check(name="weights", holds=None, said=f"retired on {day}; its documents verify")
    fault = "its files are gone, and by the log it was not retired"
    return _check("weights", version, [fault if known else "its files are gone, and it was not retired"], good="")


def weights(registry: Registry, version: ModelVersion, into: Path) -> tuple[Path | None, Check]:
    """The stored files, digested again, are those that were registered; and where they lie.

    Args:
        registry: where it is registered.
        version: whose files.
        into: for a copy, where the store is not local.
    """
    try:
        folder = registry.download(version, into=None if registry.stored_at(version) else into)
    except OperationFailed as fault:
        return None, _check("weights", version, [str(fault)], good="")
    return folder, Check(name="weights", holds=True, said="digested again: as registered")


def patch(
    version: ModelVersion, listed: Sequence[Mapping[str, Any]] | None, before: Path | None, after: Path | None
) -> Check:
    """The tensors that differ from the parent's are those that the lineage lists, with those digests."""
    if listed is None:
        return Check(name="patch", holds=None, said="no list of changed tensors on record")
    if before is None or after is None:
        return Check(name="patch", holds=None, said="not compared: it needs the weights of both versions")
    found = {str(each["name"]): each for each in changed_tensors(before, after)}
    said = {str(each["name"]): dict(each) for each in listed}
    odd = sorted(name for name in found.keys() | said.keys() if found.get(name) != said.get(name))
    more = f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else ""
    faults = [f"it differs from its parent otherwise than its lineage lists, in {', '.join(odd[:_NAMED])}{more}"]
    return _check(
        "patch", version, faults if odd else [], good=f"differs from the parent as listed, tensors: {len(said)}"
    )


def _weights_measured(data: bytes) -> object:
    try:
        return json.loads(data)["model"]["weights_after"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
