"""What the record tells of a version, as plain data: ids, digests, numbers and dates, and no word of a corpus."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from infra.registry.provenance import patch_digest, registered_on
from infra.registry.records import BATCH, SIGNER, STATUS, canonical_json, sha256
from revs.errors import BadInput
from tasks.versions.chain import Chain, Link

_TEXTS: Final = ("corpus", "held_out", "control")
_REFERENCE = re.compile(r"address-[0-9a-f]+")
CONTROLS: Final = ("before", "never_trained", "decoys_before", "decoys_after")
"""The measurements beside those after the edit, by their names in the evidence."""


def document(chain: Chain) -> dict[str, Any]:
    """The chain and what was checked, for machines."""
    return {
        "model": chain.links[0].version.name,
        "version": chain.links[0].version.version,
        "holds": not any(chain.broken),
        "versions": [described(chain, link) for link in chain.links],
    }


def described(chain: Chain, link: Link) -> dict[str, Any]:
    """One version of a chain; what its record does not have is None or empty."""
    version, lineage = link.version, link.document("lineage.json")
    batch = chain.record.batch_of(version)
    return {
        "version": version.version,
        "uri": version.uri,
        "aliases": list(version.aliases),
        "status": version.tags.get(STATUS),
        "batch": version.tags.get(BATCH) or (batch.id if batch else None),
        "registered": _registered(link),
        "architecture": (link.document("evidence.json").get("model") or {}).get("architecture"),
        "weights": version.weights,
        "parent": link.parent,
        "signer": version.tags.get(SIGNER),
        "approved_by": version.approver,
        "patch": _patch(lineage),
        "requests": list(lineage.get("requests") or ()),
        "code_commit": lineage.get("code_commit"),
        "versions": _versions(link),
        "config": sha256(canonical_json(config, what="the configuration"))
        if (config := lineage.get("config"))
        else None,
        "texts": {name: _text(chain, link, name) for name in _TEXTS if f"revs.{name}" in version.tags},
        "datasets": [_dataset(chain, each) for each in lineage.get("datasets") or ()],
        **_judged(link.document("evidence.json")),
        "holds": link.holds,
        "checks": [asdict(check) for check in link.checks],
    }


def _registered(link: Link) -> str | None:
    if link.recorded is None:
        return None
    signed = None if link.signature is None else registered_on(link.signature.statement)
    at: datetime = signed or link.recorded.created
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _patch(lineage: Mapping[str, Any]) -> dict[str, Any] | None:
    if lineage.get("patch") is None:
        return None
    return {"digest": patch_digest(lineage), "tensors": lineage["patch"]}


def _versions(link: Link) -> dict[str, str]:
    return dict(link.document("lineage.json").get("versions") or link.document("evidence.json").get("versions") or {})


def _text(chain: Chain, link: Link, name: str) -> dict[str, Any]:
    return _place(chain, link.version.tags[f"revs.{name}"])


def _dataset(chain: Chain, entry: Mapping[str, Any]) -> dict[str, Any]:
    known = {key: entry.get(key) for key in ("name", "role", "rows", "digest")}
    return known | _place(chain, entry.get("reference"))


def _place(chain: Chain, reference: str | None) -> dict[str, Any]:
    """Where a text can be opened: the address itself may be personal data, so its reference stands for it."""
    if reference is None or not _REFERENCE.fullmatch(reference):
        return {"reference": None, "opens_here": None}
    try:
        chain.record.store.address(reference)
    except BadInput:
        return {"reference": reference, "opens_here": False}
    return {"reference": reference, "opens_here": True}


def _judged(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Scores with their controls, gates, verdict and policy."""
    scores, gates = evidence.get("scores") or {}, evidence.get("gates") or []
    policy, missing = evidence.get("policy"), list(evidence.get("insufficient") or ())
    failed = [gate["name"] for gate in gates if gate.get("passed") is not True and gate.get("action") != "warn"]
    verdict = "refused" if failed else "insufficient evidence" if missing else "passed"
    return {
        "metrics": {part: scores[part] for part in ("after", *CONTROLS) if scores.get(part)},
        "gates": list(gates),
        "verdict": verdict if gates else None,
        "insufficient": missing,
        "policy": None if policy is None else {
            "digest": evidence.get("policy_digest") or sha256(canonical_json(policy, what="the policy")),
            "bounds": policy,
        },
    }  # fmt: skip
