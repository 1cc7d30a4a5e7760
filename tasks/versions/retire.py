"""Versions lose their bytes when their period has ended: planned, done step by step, and verified.

Each step may be the last before the process is killed: the next run finds the event that began the retirement, deletes
what is left, and ends it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from infra.batches.workspace import Workspace
from infra.registry import Registry, copies
from infra.registry.records import PREVIOUS, checked_person
from infra.registry.removal import files_in, overlap, remove_path
from infra.registry.retention import Entry
from infra.requests import Clock, RequestStore
from infra.settings import Settings
from revs.errors import BadInput, OperationFailed
from tasks.batch.stage import open_registry, open_store
from tasks.versions.reasons import checked_reason
from tasks.versions.retention import (
    HELD,
    RELEASED,
    RETIRING,
    Record,
    Standing,
    leftover_standing,
    standing,
)
from tasks.versions.served import RETIRED_EVENT

DISCARDED = "publication.discarded"
"""The event of leftovers of a publication that were deleted: its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """What a run of the retirement did."""

    retired: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What is needed to retire a version."""

    settings: Settings
    store: RequestStore
    registry: Registry

    @classmethod
    def of(cls, settings: Settings) -> Desk:
        """The desk of an installation."""
        return cls(settings=settings, store=open_store(settings), registry=open_registry(settings))

    @property
    def clock(self) -> Clock:
        return Clock.of(self.settings)

    def record(self) -> Record:
        """What the request store knows now."""
        return Record.read(self.store, self.clock, retention_days=self.settings.retention_days)


def plan(desk: Desk, model: str | None = None) -> list[Standing]:
    """What would go and why, and what stays and why; versions first. Nothing is changed.

    Args:
        desk: the installation.
        model: of this model alone; leftovers of publications of others are left out too.

    Raises:
        BadInput: there is no such model.
        OperationFailed: the registry or the request store cannot be asked.
    """
    entries, record, today = desk.registry.entries(), desk.record(), desk.clock.today()
    if model is not None and model not in {entry.version.name for entry in entries}:
        desk.registry.champion(model)  # says what there is
    found = _of_versions(desk, entries, record, today)
    left = [leftover_standing(each, record, entries, today) for each in desk.registry.leftovers(entries)]
    lost = [
        Standing(what=uri, goes=False, why="its entry in the registry was deleted by hand; look for its files: nobody "
                 "deletes them, and what was erased from the model since may be in them", overdue=True)
        for uri in record.lost(entries)
    ]  # fmt: skip
    wanted = [each for each in (*found.values(), *lost, *left) if model in (None, _model_of(each))]
    return sorted(wanted, key=lambda each: each.run_id is not None)


def apply(desk: Desk, model: str | None = None) -> Retired:
    """Delete what `plan` says would go, each version after a fresh look at it; what fails stops no other.

    Raises:
        BadInput, OperationFailed: as `plan`.
    """
    retired, problems = [], []
    for each in plan(desk, model):
        if each.overdue:
            problems.append(f"{each.what} stays although its day has come: {each.why}")
        if not each.goes:
            continue
        try:
            if _discard(desk, each) if each.run_id is not None else _retire(desk, each.what):
                retired.append(each.what)
        except OperationFailed as error:
            problems.append(str(error))
    return Retired(retired=tuple(retired), problems=tuple(problems))


def hold(desk: Desk, model_uri: str, *, reason: str, by: str) -> str:
    """Put a version under legal hold: its bytes stay until it is released. Returns its URI.

    The hold is an event of the audit log. A tag says nothing of it, so none can lift it.

    Raises:
        BadInput: no such version, or it was retired; or the reason is not usable.
    """
    version, who, why = desk.registry.resolve(model_uri), checked_person(by), checked_reason(reason)
    with desk.store.moving_alias(version.name):  # nobody retires it meanwhile
        if (gone := desk.record().retired(version)) is not None:
            raise BadInput(f"{version.uri} was retired on {gone.detail.get('on')}: there is nothing left to hold")
        if begun := desk.record().of(version, RETIRING):
            raise BadInput(
                f"the retirement of {version.uri} was begun on {desk.clock.day(begun[-1].at)}, and its bytes may be "
                "gone already: nothing is held"
            )
        desk.store.record(HELD, detail={"version": version.uri, "run": version.run_id, "reason": why, "by": who})
    return version.uri


def release(desk: Desk, model_uri: str, *, by: str) -> str:
    """Lift the legal hold of a version. Returns its URI.

    Raises:
        BadInput: no such version, or it is under no hold.
    """
    who, held = checked_person(by), desk.record().holds
    uri = model_uri if model_uri in held else desk.registry.resolve(model_uri).uri  # its entry may have been deleted
    if uri not in held:
        raise BadInput(f"{uri} is under no legal hold; 'revs retire' shows which versions are")
    desk.store.record(RELEASED, detail={"version": uri, "by": who})
    return uri


def retirement_of(store: RequestStore, registry: Registry, uri: str) -> dict[str, Any] | None:
    """The day since which the bytes of a version are gone, and how that was verified, for a report.

    None where the log knows of none, or where bytes are there again: then nothing says that they are gone.
    """
    said = [event.detail for event in store.events(event=RETIRED_EVENT) if event.detail.get("version") == uri]
    if not said or any(each.version.uri == uri and registry.has_bytes(each) for each in registry.entries()):
        return None
    return {"on": said[-1]["on"], "looked": said[-1]["looked"]}


def _of_versions(desk: Desk, entries: Sequence[Entry], record: Record, today: date) -> dict[str, Standing]:
    """The standing of each version that still has bytes, by URI, after asking with whom it shares its files."""
    by_uri: dict[str, Standing] = {}
    for entry in entries:
        uri = entry.version.uri
        gone, found = record.retired(entry.version), standing(entry, record, today)
        if gone is not None and not desk.registry.has_bytes(entry):
            continue
        if gone is not None:
            again = f"it was retired on {gone.detail.get('on')}, and its bytes are there again"
            found = replace(found, why=again if found.goes else f"{again}; {found.why}", overdue=not found.goes)
        by_uri[uri] = found
    staying = [entry for entry in entries if entry.version.uri in by_uri and not by_uri[entry.version.uri].goes]
    for entry in entries:
        found_here = by_uri.get(entry.version.uri)
        if found_here is None or not found_here.goes:
            continue
        if (why := _bound(desk, entry, staying, by_uri) or _unknown(desk, entry, record)) is not None:
            by_uri[entry.version.uri] = replace(found_here, goes=False, why=f"{why} ({found_here.why})", overdue=True)
        elif same := [each.version.uri for each in staying if each.version.weights == entry.version.weights]:
            why = f"{found_here.why}; copies of the same weights stay as {', '.join(same)}"
            by_uri[entry.version.uri] = replace(found_here, why=why)
    return by_uri


def _bound(desk: Desk, entry: Entry, staying: Sequence[Entry], found: dict[str, Standing]) -> str | None:
    """Why the files of a version that would go cannot be deleted; None where they can."""
    for other in staying:
        if overlap(entry.location, other.location):
            return f"its files are those of {other.version.uri} as well, which stays: {found[other.version.uri].why}"
    if not desk.registry.is_own(entry):
        return "its files do not lie where this program puts them: delete them by hand, and the entry"
    names = desk.registry.inodes(entry)
    for other in staying if names else ():
        if names & desk.registry.inodes(other):
            return f"its files are hard links to those of {other.version.uri}, which stays"
    if names:
        return f"{len(names)} of its files have another name elsewhere (hard links): delete that first"
    return None


def _unknown(desk: Desk, entry: Entry, record: Record) -> str | None:
    """Why nothing but a tag, which anybody may set, says that a batch made a version; None where more does."""
    version = entry.version
    if record.maker(version) is None or record.made_by(version) is not None:
        return None
    try:
        signed = desk.registry.verify(version) is not None
    except OperationFailed:
        signed = False
    return (
        None if signed else f"that a batch made it is neither on record nor signed: delete run {version.run_id} by hand"
    )


def _retire(desk: Desk, uri: str) -> bool:
    """Delete the bytes of one version; False where it stays by now.

    Raises:
        OperationFailed: bytes are left; it names some. The next run goes on.
    """
    with desk.store.moving_alias(uri.removeprefix("models:/").rpartition("/")[0]), desk.registry.alone(uri):
        entries, record, today = desk.registry.entries(), desk.record(), desk.clock.today()
        entry = next((each for each in entries if each.version.uri == uri), None)
        found = _of_versions(desk, entries, record, today).get(uri)
        if entry is None or found is None or not found.goes:
            return False
        own = {"version": uri, "run": entry.version.run_id, "weights": entry.version.weights}
        if not record.of(entry.version, RETIRING):
            until = None if found.until is None else found.until.isoformat()
            desk.store.record(RETIRING, detail=own | {"until": until})
        beside = [*_work(desk, entry, record), *_caches(desk, entry, entries, record)]
        desk.registry.remove(entry, alias=PREVIOUS)
        for path in beside:
            remove_path(path)
        if left := [*desk.registry.left(entry), *(str(file) for path in beside for file in files_in(path))]:
            raise OperationFailed(_still_there(uri, left))
        desk.registry.bury(entry, on=today)
        looked = desk.registry.looked(entry)
        desk.store.record(RETIRED_EVENT, detail=own | {"on": today.isoformat(), "looked": looked})
        return True


def _discard(desk: Desk, found: Standing) -> bool:
    """Delete what an unfinished publication left."""
    with desk.registry.alone(found.what):
        entries, record = desk.registry.entries(), desk.record()
        left = [each for each in desk.registry.leftovers(entries) if each.run_id == found.run_id]
        for each in left:
            if not leftover_standing(each, record, entries, desk.clock.today()).goes:
                return False
            copied = [*copies.downloads(each.run_id, Path(tempfile.gettempdir()))]
            for path in copied:
                remove_path(path)
            still = [str(file) for path in copied for file in files_in(path)]
            if still := [*still, *desk.registry.discard(each)]:
                raise OperationFailed(_still_there(found.what, still))
            desk.store.record(DISCARDED, detail={"key": each.key, "run": each.run_id})
        return bool(left)


def _work(desk: Desk, entry: Entry, record: Record) -> Iterator[Path]:
    """What batches keep of a version: the folders of those that were made from it or made it, and copies elsewhere.

    Raises:
        OperationFailed: a run is at work on such a batch.
    """
    version, settings, maker = entry.version, desk.settings, record.maker(entry.version)
    for batch in record.batches:
        folder = Workspace(settings.work_dir, batch.id).folder
        if folder.exists() and (batch.source == version.uri or batch.id == maker):
            if (holder := desk.store.holder(batch.id)) is not None:
                raise OperationFailed(
                    f"process {holder.pid} on {holder.host} works on batch {batch.id}, which keeps data of "
                    f"{version.uri}: let it end, then run 'revs retire --apply' again, it goes on"
                )
            yield folder
    for root in (settings.work_dir, *settings.home.glob("gate-*")):
        yield from copies.checkouts(version, root)
    yield from copies.downloads(version.run_id, Path(tempfile.gettempdir()))


def _caches(desk: Desk, entry: Entry, entries: Sequence[Entry], record: Record) -> Iterator[Path]:
    """Counts of tokens, where the tokenizer is that of no version whose bytes stay."""
    others = (each for each in entries if each is not entry and record.retired(each.version) is None)
    if not any(copies.same_tokenizer(entry.version, each.version) for each in others):
        yield desk.settings.home / "token-counts"


def _still_there(what: str, left: Sequence[str]) -> str:
    more = f" and {len(left) - 1} more" if len(left) > 1 else ""
    return (
        f"bytes of {what} are left: {left[0]}{more}; it is not retired: give this program the right to delete that (in "
        "S3 versions of objects too), then run 'revs retire --apply' again, it goes on"
    )


def _model_of(found: Standing) -> str:
    """The name of the model in models:/NAME/3, or in the key of a publication: kind/NAME/…."""
    return found.what.removeprefix("models:/").rpartition("/")[0] if found.run_id is None else found.what.split("/")[1]
