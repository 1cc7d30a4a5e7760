"""What the request store says of a registered version: a second record, which nobody changes through the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from infra.registry import ModelVersion, Registry, missing_batches
from infra.registry.lineage import root_tags
from infra.registry.records import BATCH, EVIDENCE, PARENT, SIGNER, WEIGHTS
from infra.requests import Batch, RequestStore
from revs.errors import BadInput, GateRefused, OperationFailed
from tasks.versions.served import NEW_ROOT_DECLARED, REGISTERED

_NAMED_AT_MOST = 5


def missing_erasures(registry: Registry, store: RequestStore, version: ModelVersion) -> tuple[tuple[str, str], ...]:
    """The completed batches of the model, with the version each made, whose erasures `version` lacks.

    What the request store knows of a version counts for more than the tags of the registry. The weights that a batch
    erased from hold what it erased, under whatever number they stand.
    """
    batches = store.batches(version.name)
    completed = [(b.id, made) for b in batches if b.status == "completed" and (made := version_made_by(b)) is not None]
    line = _lineage(registry, version, batches)
    if version.version not in {version_made_by(batch) for batch in batches} and erased_from(version, batches):
        line = line[:1]  # whatever parent its tags name, its weights are those that held the erased data
    missing = missing_batches(line, completed)
    if missing:
        declared = _declared_roots(store)
        line = tuple(replace(each, tags=root_tags(declared.get(each.uri, ()))) for each in line)
    return missing_batches(line, completed) if missing else ()


def erased_from(version: ModelVersion, batches: Sequence[Batch]) -> list[Batch]:
    """The completed batches that edited this version, or the same weights under another number."""
    return [
        batch
        for batch in batches
        if batch.status == "completed"
        and version_made_by(batch) is not None
        and (
            batch.source == version.uri
            or (version.weights is not None and _recorded(batch).get("weights_before") == version.weights)
        )
    ]


def require_whole_lineage(
    registry: Registry, store: RequestStore, version: ModelVersion, *, for_derivation: bool = False
) -> None:
    """Refuse a version that lacks what a completed batch erased: whatever is derived from it brings that back.

    And a candidate that nobody approved, or that no gate let through: an alias moved by hand approves nothing.

    Raises:
        GateRefused: it is one; the message names the batches and what to do.
    """
    for batch in store.batches(version.name):
        if batch.status in ("waiting", "refused") and version_made_by(batch) == version.version and for_derivation:
            raise GateRefused(
                f"{version.uri} is the candidate of batch {batch.id}, which is {batch.status}: the champion alias was "
                f"moved to it by hand, which approves nothing; run 'revs promote {version.uri} --approved-by NAME', or "
                f"move the alias back to {batch.source}"
            )
    if missing := missing_erasures(registry, store, version):
        raise GateRefused(lacking(version, missing))


def lacking(version: ModelVersion, missing: tuple[tuple[str, str], ...]) -> str:
    """One line that says which erasures a version lacks, and what to do."""
    named = ", ".join(f"{batch} (version {made})" for batch, made in missing[-_NAMED_AT_MOST:])
    more = f" and {len(missing) - _NAMED_AT_MOST} earlier" if len(missing) > _NAMED_AT_MOST else ""
    newest = missing[-1][1]
    return (
        f"{version.uri} lacks what completed batches erased: {named}{more}; nothing is derived from it or promoted: "
        f"make version {newest} champion again with 'revs promote models:/{version.name}/{newest}', or, if this is a "
        f"model trained anew without that data, declare it: 'revs promote {version.uri} --new-root --approved-by NAME'"
    )


def contradictions(store: RequestStore, version: ModelVersion, evidence: Mapping[str, Any] | None) -> list[str]:
    """What the registry says of a version and the request store's record of its batches denies; empty is good.

    The registry's own digests only say that files and tags fit each other: whoever can write both makes them fit.

    Args:
        store: of the installation that made the version; that of another knows nothing of it and denies nothing.
        version: as registered.
        evidence: as the registry keeps it with the version.
    """
    found = []
    for batch in store.batches(version.name):
        recorded, model = batch.outcome.get("evidence") or {}, _recorded(batch)
        if batch.source == version.uri and _differ(model.get("weights_before"), version.weights):
            found.append(f"its weights are not those that batch {batch.id} was measured against")
        if model.get("uri_after") != version.uri:
            continue
        if _differ(model.get("weights_after"), version.weights):
            found.append(f"its weights are not those that batch {batch.id} tested and recorded")
        if version.tags.get("revs.batch_id") != batch.id:
            found.append(f"its tags do not name batch {batch.id}, which made it")
        if differing := differing_parts(recorded, evidence or {}):
            found.append(f"its evidence is not that of batch {batch.id} in {', '.join(differing)}")
        found += _unlike_registered(store, batch, version)
    if signature_lost(store, version):
        found.append("its signature is gone, and it was signed when it was registered")
    return found


def signature_lost(store: RequestStore, version: ModelVersion) -> bool:
    """Whether a version that bears no signature had one: then it is none from before versions were signed."""
    return SIGNER not in version.tags and any(
        event.detail.get("version") == version.uri and event.detail.get("signer")
        for event in store.events(event=REGISTERED)
    )


def require_signature_kept(store: RequestStore, version: ModelVersion) -> None:
    """Refuse a version whose signature was taken away.

    Raises:
        OperationFailed: it was.
    """
    if signature_lost(store, version):
        raise OperationFailed(
            f"the signature of {version.uri} is gone, and it was signed when it was registered: do not use it: restore "
            "the registry from a backup, or make another version champion"
        )


def keep_on_record(store: RequestStore, version: ModelVersion) -> None:
    """Write into the log what a base was when it was registered, once, however often it is."""
    if not any(event.detail.get("version") == version.uri for event in store.events(event=REGISTERED)):
        store.record(REGISTERED, batch_id=None, detail=registered_detail(version))


def require_on_record(store: RequestStore, version: ModelVersion, evidence: Mapping[str, Any] | None) -> None:
    """Refuse a version of which registry and request store say different things.

    Raises:
        OperationFailed: they do; the message says in what.
    """
    if denied := contradictions(store, version, evidence):
        raise OperationFailed(
            f"{version.uri} was changed after it was registered: {'; '.join(denied)}; do not rely on it or serve it: "
            "restore the registry from a backup, or make another version champion"
        )


def differing_parts(recorded: Mapping[str, Any], registered: Mapping[str, Any]) -> list[str]:
    """Names of the parts of the evidence that differ, timings and what changes until a batch is closed left aside."""
    left, right = _comparable(recorded), _comparable(registered)
    if None in (left["policy"], right["policy"]):  # registered by a program that did not keep it; not promoted then
        del left["policy"]
    return [part for part in left if left[part] != right[part]]


def registered_detail(version: ModelVersion) -> dict[str, Any]:
    """What the request store's log keeps of a version when it is registered (event "version.registered")."""
    return {
        "version": version.uri,
        "weights": version.weights,
        "evidence": version.tags.get("revs.evidence"),
        "files": version.tags.get("revs.files"),
        "signer": version.tags.get(SIGNER),
    }


def _unlike_registered(store: RequestStore, batch: Batch, version: ModelVersion) -> list[str]:
    now = registered_detail(version)
    if now["signer"] is None:
        del now["signer"]  # see signature_lost
    for event in store.events(batch_id=batch.id, event=REGISTERED):
        if event.detail.get("version") == version.uri:
            changed = [part for part, value in now.items() if event.detail.get(part) != value]
            return [f"its {part} is not what was registered" for part in changed]
    return []


def _comparable(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """What both records of a batch must say alike: one is written at its registration, the other when it is closed."""
    model = evidence.get("model") or {}
    edit = evidence.get("edit") or {}
    datasets = evidence.get("datasets") or []
    return {
        **{part: evidence.get(part) for part in ("scores", "ranks", "gates", "policy", "targets", "seed")},
        "edit": {key: value for key, value in edit.items() if key != "seconds"},
        "datasets": [(d.get("name"), d.get("rows"), d.get("digest")) for d in datasets if d.get("role") == "corpus"],
        "model": [model.get(key) for key in ("name", "version_before", "weights_before", "weights_after")],
    }


def _differ(recorded: object, now: str | None) -> bool:
    return recorded is not None and now is not None and recorded != now


def version_made_by(batch: Batch) -> str | None:
    """Number of the version that the batch made, by the request store; None where it made none."""
    made = _recorded(batch).get("version_after")
    return None if made is None else str(made)


def made_weights(batch: Batch) -> str | None:
    """Digest of the weights that the batch made, by the request store."""
    return _recorded(batch).get("weights_after")


def _recorded(batch: Batch) -> dict[str, Any]:
    """What the batch's evidence says of its model; `weights_before` held what the batch erased."""
    return (batch.outcome.get("evidence") or {}).get("model") or {}


def _lineage(registry: Registry, version: ModelVersion, batches: Sequence[Batch]) -> tuple[ModelVersion, ...]:
    """The version, the one it was made from, and so on to the root; without their tags.

    The parent of a version that a batch of this store made is the one that the batch names, also where its entry in the
    registry was deleted. Of others the tag is believed if the version has what a batch gives it.
    """
    known = {each.version: each for each in registry.ancestry(version)}
    sources = {
        made: batch.source.rpartition("/")[2] for batch in batches if (made := version_made_by(batch)) is not None
    }
    line: list[ModelVersion] = []
    number: str | None = version.version
    while number is not None:
        if number in {each.version for each in line}:
            raise OperationFailed(
                f"the parents of {version.uri} go round in a circle at version {number}: their tags {PARENT!r} were "
                "changed; set them right before anything is derived from it"
            )
        found = known.get(number) or entry(registry, version.name, number)
        line.append(replace(found, tags={}))
        number = sources.get(number) or _parent_by_tag(found)
    return tuple(line)


def entry(registry: Registry, name: str, number: str) -> ModelVersion:
    """A version as registered; without tags and `source` where its entry was deleted."""
    uri = f"models:/{name}/{number}"
    try:
        return registry.resolve(uri)
    except BadInput:
        return ModelVersion(name=name, version=number, uri=uri, run_id="", source="")


def _parent_by_tag(version: ModelVersion) -> str | None:
    made_by_a_batch = version.tags.keys() >= {BATCH, EVIDENCE, WEIGHTS}
    return version.tags.get(PARENT) if made_by_a_batch else None


def _declared_roots(store: RequestStore) -> dict[str, list[str]]:
    """By version, the batches that a human declared it to supersede."""
    found: dict[str, list[str]] = {}
    for event in store.events():
        if event.event == NEW_ROOT_DECLARED:
            found.setdefault(str(event.detail["version"]), []).extend(event.detail.get("supersedes") or ())
    return found
