"""What is claimed of a version, as an in-toto statement with a predicate like SLSA's, and what of it does not hold.

The statement binds together what lies in different places: files, evidence, lineage, and the tags that decide anything.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from infra.registry import records
from infra.registry.bundles import root_of
from infra.registry.files import shown
from infra.registry.records import ModelVersion
from revs.errors import BadInput

_TYPE: Final = "https://in-toto.io/Statement/v1"
_PREDICATE: Final = "https://slsa.dev/provenance/v1"
_BUILD: Final = "https://example.com/revs/erasure/v1"  # names the form of the parameters; nothing is fetched from there
_DEPTH = 3  # of the evidence: "scores.after.efficacy" is told from its neighbours
UNSIGNED_TAGS: Final = frozenset(
    {records.STATUS, records.RETIRE_ON, records.SUPERSEDED_BY, records.RETIRED_ON, records.APPROVED_BY}
    | {records.NEW_ROOT}
)
"""What changes by design after a version is registered."""


def origin(
    *, lineage: Mapping[str, Any], evidence: Mapping[str, Any], parent: ModelVersion | None = None
) -> dict[str, Any]:
    """What is known of the making of a version before it is stored.

    Args:
        lineage: as registered; `config`, `datasets`, `code_commit`, `versions`, `patch` are read.
        evidence: as registered; `versions` where the lineage has none.
        parent: the version that was edited.
    """
    config = records.canonical_json(lineage.get("config") or {}, what="the configuration")
    datasets = lineage.get("datasets") or ()
    return {
        "parent": None
        if parent is None
        else {"uri": parent.uri, "weights": parent.weights, "signer": parent.tags.get(records.SIGNER)},
        "config": records.sha256(config),
        "datasets": [{key: each.get(key) for key in ("name", "role", "digest")} for each in datasets],
        "code": {
            "commit": lineage.get("code_commit"),
            "versions": lineage.get("versions") or evidence.get("versions"),
        },
        "patch": patch_digest(lineage),
        "gates": evidence.get("gates") or [],
        "evidence": _parts(evidence),
    }


def patch_digest(lineage: Mapping[str, Any]) -> str | None:
    """One digest for the list of changed tensors in a lineage; None where it has none."""
    if (patch := lineage.get("patch")) is None:
        return None
    return records.sha256(records.canonical_json({"tensors": patch}, what="the list of changed tensors"))


def statement(
    *,
    name: str,
    key: str,
    run_id: str,
    weights: str,
    tags: Mapping[str, str],
    origin: Mapping[str, Any],
    files: Mapping[str, str],
    documents: Mapping[str, bytes],
    at: datetime,
) -> dict[str, Any]:
    """Make the statement about a version.

    Args:
        name: of the model.
        key: what the version is, once and for all.
        run_id: of the MLflow run under which it is stored.
        weights: digest of its weights.
        tags: of the version when it is created.
        origin: what `origin` returned.
        files: SHA-256 of every stored file.
        documents: what is stored beside them, the signed list of files included.
        at: when it is registered.
    """
    parent = origin.get("parent")
    before = [] if parent is None else [{"uri": parent["uri"], "digest": _digest(parent["weights"]), "name": "parent"}]
    return {
        "_type": _TYPE,
        "predicateType": _PREDICATE,
        "subject": [
            {"name": name, "digest": {"sha256": root_of(files)}},
            *({"name": each, "digest": {"sha256": _sha256(data)}} for each, data in sorted(documents.items())),
        ],
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD,
                "externalParameters": {"model": name, "key": key, "weights": weights},
                "internalParameters": {"configuration": origin["config"]},
                "resolvedDependencies": [
                    *before,
                    *({"name": d["name"], "digest": _digest(d["digest"])} for d in origin["datasets"]),
                ],
            },
            "runDetails": {
                "builder": {"id": _BUILD, "version": origin["code"]},
                "metadata": {"invocationId": run_id, "finishedOn": _timestamp(at)},
                "byproducts": [{"name": "patch", "digest": _digest(origin["patch"])}] if origin["patch"] else [],
            },
            "revs_tags": {tag: value for tag, value in tags.items() if signed_tag(tag)},
            "revs_parent": parent,
            "revs_gates": origin["gates"],
            "revs_evidence": origin["evidence"],
        },
    }


def signed_tag(tag: str) -> bool:
    """Whether a tag may never change: those of this project that do not change by design."""
    return tag.startswith("revs.") and tag not in UNSIGNED_TAGS and not tag.startswith(f"{records.NEW_ROOT}.")


def registered_on(signed: Mapping[str, Any]) -> datetime | None:
    """When the version that a statement is about was registered; None where an older program signed it."""
    text = ((signed.get("predicate") or {}).get("runDetails") or {}).get("metadata", {}).get("finishedOn")
    return None if text is None else datetime.fromisoformat(text)


def parent_signer(signed: Mapping[str, Any]) -> str | None:
    """Who had signed the parent of the version that a statement is about."""
    parent = (signed.get("predicate") or {}).get("revs_parent") or {}
    return parent.get("signer")


def differences(signed: Mapping[str, Any], version: ModelVersion, documents: Mapping[str, bytes]) -> Iterator[str]:
    """What of a version is not as its statement says: its name, its tags, its evidence, its documents; each by name.

    Args:
        signed: the statement, its signature verified.
        version: as registered now.
        documents: what is stored beside its files now, the signed list of files among them.
    """
    if signed.get("_type") != _TYPE or signed.get("predicateType") != _PREDICATE:
        yield "its signed statement is of another kind"
        return
    predicate = signed["predicate"]
    claimed = predicate["buildDefinition"]["externalParameters"]
    if claimed["model"] != version.name or predicate["runDetails"]["metadata"]["invocationId"] != version.run_id:
        yield f"its signature is that of another version ({claimed['model']}, {claimed['key']})"
        return
    yield from _tags(predicate["revs_tags"], version.tags)
    subjects = {each["name"]: each["digest"]["sha256"] for each in signed["subject"][1:]}
    for name, digest in subjects.items():
        if name in documents and _sha256(documents[name]) == digest:
            continue
        if name == "evidence.json" and name in documents:
            yield from _evidence(predicate["revs_evidence"], documents[name])
        else:
            yield f"{name} is not what was signed" if name in documents else f"{name} is gone"


def _tags(signed: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    found = {tag: value for tag, value in now.items() if signed_tag(tag)}
    for tag in sorted(signed.keys() | found.keys()):
        if tag not in found:
            yield f"tag {tag} is gone"
        elif tag not in signed:
            yield f"tag {tag} was added"
        elif signed[tag] != found[tag]:
            yield f"tag {tag} was changed"


def _evidence(signed: Mapping[str, str], data: bytes) -> Iterator[str]:
    try:
        now = _parts(json.loads(data))
    except (ValueError, AttributeError, BadInput):  # no JSON, no mapping, or NaN in it
        now = dict(signed)
    differing = sorted(part for part in signed.keys() | now.keys() if signed.get(part) != now.get(part))
    yield f"evidence.json was changed in {shown(differing)}" if differing else "evidence.json is not what was signed"


def _parts(document: Mapping[str, Any], depth: int = _DEPTH) -> dict[str, str]:
    """A digest of each value, by its path of at most `depth` keys."""
    found: dict[str, str] = {}
    for key, value in document.items():
        if depth > 1 and isinstance(value, Mapping) and value:
            found |= {f"{key}.{path}": digest for path, digest in _parts(value, depth - 1).items()}
        else:
            found[key] = _sha256(records.canonical_json({"": value}, what="the evidence"))
    return found


def _timestamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _digest(text: str | None) -> dict[str, str]:
    """`sha256:…` as in-toto writes a digest."""
    kind, _, value = (text or "").rpartition(":")
    return {kind or "sha256": value} if value else {}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
