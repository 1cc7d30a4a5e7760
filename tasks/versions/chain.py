"""The chain from a version to its root, verified: from what is stored of each, and from what the request store says."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.registry import ModelVersion, Registry
from infra.registry.reading import Recorded
from infra.registry.records import PARENT
from infra.registry.signatures import Signature
from infra.settings import Settings
from revs.errors import OperationFailed
from tasks.batch.stage import open_registry, open_store
from tasks.versions import proofs
from tasks.versions.lineage import entry
from tasks.versions.on_record import OnRecord
from tasks.versions.proofs import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A version of a chain, what is stored of it, and what was checked."""

    version: ModelVersion  # without tags where its entry in the registry is gone
    recorded: Recorded | None = None  # None where its entry is gone
    signature: Signature | None = None  # None where it bears none, or one that does not hold
    documents: Mapping[str, Any] | None = None  # by file name; None where they are not what was recorded
    checks: list[Check] = field(default_factory=list)

    @property
    def parent(self) -> str | None:
        """URI of the version that was edited: as it was signed, or as a tag says where nothing was."""
        if self.signature is not None:
            parent = self.signature.statement["predicate"].get("revs_parent")
            return None if parent is None else str(parent["uri"])
        number = self.version.tags.get(PARENT)
        return None if number is None else f"models:/{self.version.name}/{number}"

    def document(self, name: str) -> Mapping[str, Any]:
        """One of the documents; empty where there is none that can be relied on."""
        found: Mapping[str, Any] = (self.documents or {}).get(name, {})
        return found

    @property
    def holds(self) -> bool:
        """Whether nothing that was checked fails."""
        return all(check.holds is not False for check in self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The versions from the one that was asked for to its root."""

    links: Sequence[Link]
    record: OnRecord

    @property
    def broken(self) -> Iterator[Check]:
        """What does not hold, newest version first; each names its version."""
        return (check for link in self.links for check in link.checks if check.holds is False)

    def raise_if_broken(self) -> None:
        """Raise OperationFailed with the first thing that does not hold."""
        for check in self.broken:
            raise OperationFailed(check.said)


def read_chain(settings: Settings, model_uri: str, *, read_weights: bool) -> Chain:
    """Read and verify the chain of a version.

    Args:
        settings: the installation.
        model_uri: `models:/NAME/3`, `models:/NAME@champion` or a name.
        read_weights: whether the stored files are digested again, all of every version.

    Raises:
        BadInput: no such version.
        OperationFailed: the registry or the request store cannot be asked.
    """
    registry, store = open_registry(settings), open_store(settings)
    version = registry.resolve(model_uri)
    record = OnRecord(store, version.name)
    links = _walk(registry, record, version)
    champion = registry.alias(version.name)
    for link, parent in zip(links, [*links[1:], None], strict=True):
        if link.recorded is not None:
            link.checks.extend(_beside_the_files(record, link, link.recorded, parent, champion))
    _read_files(registry, record, links, read_weights=read_weights)
    return Chain(links=links, record=record)


def _walk(registry: Registry, record: OnRecord, version: ModelVersion) -> list[Link]:
    """The version, the one it was made from, and so on; a batch of this installation knows best from which."""
    links: list[Link] = []
    while True:
        link = _link(registry, record, version)
        links.append(link)
        batch = record.batch_of(version)
        parent = link.parent if batch is None else batch.source
        if parent is None:
            return links
        if parent in {each.version.uri for each in links}:
            link.checks.append(proofs.circle(version, parent))
            return links
        version = entry(registry, version.name, parent.rpartition("/")[2])


def _link(registry: Registry, record: OnRecord, version: ModelVersion) -> Link:
    if not version.source:
        return Link(version=version, checks=[proofs.missing_entry(version)])
    recorded = registry.recorded(version)
    signature, signed = proofs.signature(registry, record, version)
    checks = [signed, proofs.evidence(version, recorded)]
    documents = None
    if all(check.holds is not False for check in checks):  # else anything may have been put into them
        documents, damaged = proofs.readable(version, recorded)
        checks += damaged
    checks.append(proofs.report(registry, record, version, recorded))
    return Link(version=version, recorded=recorded, signature=signature, documents=documents, checks=checks)


def _beside_the_files(
    record: OnRecord, link: Link, recorded: Recorded, parent: Link | None, champion: str | None
) -> Iterator[Check]:
    """What is checked of a version beside its files; documents that do not hold are compared with nothing."""
    evidence = None
    if link.documents is not None:
        evidence = link.document("evidence.json")
        yield proofs.data_sets(link.version, recorded, link.document("lineage.json"))
    made_from, signed = (None, None) if parent is None else (parent.version, parent.signature)
    yield proofs.descent(record, link.version, link.signature, made_from, signed)
    yield proofs.log(record, link.version, evidence)
    yield proofs.alias(record, link.version, champion)


def _read_files(registry: Registry, record: OnRecord, links: Sequence[Link], *, read_weights: bool) -> None:
    """Check the stored files, oldest version first, so that no more than two copies of a remote store lie here."""
    with tempfile.TemporaryDirectory(prefix="revs-lineage-") as scratch:
        before: Path | None = None
        copy: Path | None = None
        for link in reversed(links):
            place = Path(scratch) / link.version.version
            folder = _files(registry, record, link, place, read_weights=read_weights)
            if link.recorded is not None and link.parent is not None:
                listed = link.document("lineage.json").get("patch")
                link.checks.append(proofs.patch(link.version, listed, before, folder))
            if copy is not None:
                shutil.rmtree(copy, ignore_errors=True)
            before, copy = folder, place


def _files(registry: Registry, record: OnRecord, link: Link, place: Path, *, read_weights: bool) -> Path | None:
    """Check the files of a version; where they lie if they were read and are what they were."""
    if link.recorded is None:
        return None
    folder, check = None, proofs.files_gone(registry, record, link.version)
    if check is None and not read_weights:
        check = Check(name="weights", holds=None, said="not read (--records-only)")
    elif check is None and link.signature is None and not link.holds:
        check = Check(name="weights", holds=None, said="not read: what they are compared with does not hold")
    elif check is None:
        folder, check = proofs.weights(registry, link.version, place)
    link.checks.append(check)
    return folder
