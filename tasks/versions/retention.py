"""Which versions lose their bytes, which stay, and why.

The registry's tags are what anybody may set. So the request store's record counts beside them: a tag can make a period
longer, never shorter, and no tag makes a version go that the record knows as the champion, or lifts a hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Final

from infra.registry.records import BATCH, CHAMPION, PREVIOUS, RETIRE_ON, STATUS, SUPERSEDED, WEIGHTS, ModelVersion
from infra.registry.retention import Entry, Leftover
from infra.requests import Batch, Clock, RequestStore
from infra.requests.records import Event
from tasks.versions.lineage import erased_from, version_made_by
from tasks.versions.served import BECAME_CHAMPION, REGISTERED, RESTORED, RETIRED_EVENT, ROLLED_BACK

HELD: Final = "version.held"
"""The event of a legal hold: version, reason, by."""
RELEASED: Final = "version.released"
RETIRING: Final = "version.retiring"
"""The event of a version whose bytes are about to be deleted."""
_LIVE: Final = ("open", "waiting")
_AT_WORK = timedelta(days=1)
"""For so long somebody may still be at work on a publication of which the store knows no batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is to become of a version, or of the leftovers of a publication, and why."""

    what: str  # models:/NAME/3, or the key of a publication
    goes: bool
    why: str
    until: date | None = None  # the day on which its period ends, where it has one
    overdue: bool = False  # it must stay although its day has come, and somebody has to see to that
    run_id: str | None = None  # of leftovers


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the request store knows of versions."""

    batches: Sequence[Batch]
    events: Sequence[Event]
    clock: Clock
    retention: timedelta

    @classmethod
    def read(cls, store: RequestStore, clock: Clock, *, retention_days: int) -> Record:
        """Everything on record that decides, as it is now."""
        kinds = (HELD, RELEASED, RETIRING, RETIRED_EVENT, REGISTERED, *BECAME_CHAMPION)
        events = sorted((each for kind in kinds for each in store.events(event=kind)), key=lambda each: each.id)
        return cls(batches=store.batches(), events=events, clock=clock, retention=timedelta(days=retention_days))

    def of(self, version: ModelVersion, kind: str) -> list[Event]:
        """The events of a kind about the files of a version, oldest first.

        By its run too, for a registry that was restored from a backup gives the same numbers again.
        """
        own = self._by_version[version.uri]
        return [each for each in own if each.event == kind and each.detail.get("run") == version.run_id]

    @cached_property
    def holds(self) -> dict[str, Event]:
        """The legal holds that were not lifted, by the version that they name."""
        found: dict[str, Event] = {}
        for event in self.events:
            uri = str(event.detail.get("version"))
            if event.event == HELD:
                found[uri] = event
            elif event.event == RELEASED:
                found.pop(uri, None)
        return found

    def held(self, uri: str | None, run_id: str) -> str | None:
        """The legal hold that a version is under, in words; it counts for its files under any number."""
        for held, event in self.holds.items():
            if held == uri or (run_id and event.detail.get("run") == run_id):
                by, reason = event.detail.get("by"), event.detail.get("reason")
                other = "" if held == uri else f", as {held}"
                return f"it is under legal hold since {self.clock.day(event.at)}{other}, by {by}: {reason}"
        return None

    def known(self, name: str) -> set[str]:
        """The versions of a model that are on record, by URI."""
        prefix = f"models:/{name}/"
        own = {each.source for each in self.batches} | {str(each.detail.get("version")) for each in self.events}
        return {uri for uri in own if uri.startswith(prefix)}

    def retired(self, version: ModelVersion) -> Event | None:
        """The event by which the bytes of a version were found to be gone, the latest."""
        return next(reversed(self.of(version, RETIRED_EVENT)), None)

    def made_by(self, version: ModelVersion) -> str | None:
        """Id of the batch that made a version, by the record."""
        for batch in self.batches:
            if batch.model == version.name and version_made_by(batch) == version.version:
                return batch.id
        own = self._by_version[version.uri]
        return next((each.batch_id for each in own if each.event == REGISTERED and each.batch_id), None)

    def maker(self, version: ModelVersion) -> str | None:
        """The same, or where the record does not know of it what its tag says."""
        return self.made_by(version) or version.tags.get(BATCH)

    def took_the_place(self, version: ModelVersion) -> bool:
        """Whether a later version of the same weights is on record: a base of which other files were mended."""
        weights = self.weights_of(version)
        later = [each.detail for each in self.events if each.event == REGISTERED and each.batch_id is None]
        own = [each for each in later if weights is not None and each.get("weights") == weights]
        numbers = [str(each.get("version")).removeprefix(f"models:/{version.name}/") for each in own]
        return any(number.isdecimal() and int(number) > int(version.version) for number in numbers)

    def weights_of(self, version: ModelVersion) -> str | None:
        """The weights with which it was registered here; its tag may be anybody's."""
        own = [each.detail.get("weights") for each in self._by_version[version.uri] if each.event == REGISTERED]
        return own[-1] if own else None

    def lost(self, entries: Sequence[Entry]) -> list[str]:
        """The versions that were registered here, were not retired, and have no entry any more."""
        there = {entry.version.uri for entry in entries}
        gone = {str(each.detail.get("version")) for each in self.events if each.event == RETIRED_EVENT}
        known = [str(each.detail.get("version")) for each in self.events if each.event == REGISTERED]
        return [uri for uri in dict.fromkeys(known) if uri not in there | gone]

    def registered_by(self, batch: Batch) -> bool:
        """Whether a batch registered a version."""
        logged = any(each.event == REGISTERED and each.batch_id == batch.id for each in self.events)
        return logged or version_made_by(batch) is not None

    def batch(self, batch_id: str | None) -> Batch | None:
        """A batch of this store; None for one of another."""
        return next((each for each in self.batches if each.id == batch_id), None)

    def champions(self, name: str) -> list[tuple[datetime, str]]:
        """When which version of a model became champion, oldest first, by number."""
        prefix = f"models:/{name}/"
        said = [each for each in self.events if each.event in BECAME_CHAMPION]
        found = [(each.at, str(each.detail.get("version"))) for each in said]
        found = [(at, uri.removeprefix(prefix)) for at, uri in found if uri.startswith(prefix)]
        known = {number for _, number in found}
        for batch in self.batches:
            made = version_made_by(batch)
            if batch.model == name and batch.status == "completed" and made not in {None, *known} and batch.closed_at:
                found.append((batch.closed_at, str(made)))
        return sorted(found)

    def rolled_back(self, version: ModelVersion) -> bool:
        """Whether it was taken back, and what serves since holds what was erased: it is the way forward then."""
        prefix = f"models:/{version.name}/"
        kinds = BECAME_CHAMPION - {RESTORED}  # which changes nothing of who serves
        own = [e for e in self.events if e.event in kinds and str(e.detail.get("version")).startswith(prefix)]
        if not own or own[-1].event != ROLLED_BACK:
            return False
        return own[-1].detail.get("instead_of") == version.uri and bool(own[-1].detail.get("lacks"))

    @cached_property
    def _by_version(self) -> dict[str, list[Event]]:
        found: dict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            found[str(event.detail.get("version"))].append(event)
        return found


def standing(entry: Entry, record: Record, today: date) -> Standing:
    """What is to become of one version; whether it shares its files with another is not asked here."""
    uri = entry.version.uri
    if (stays := _held_or_named(entry, record, today)) is not None:
        return stays
    if (why := _protected(entry, record)) is not None:
        return Standing(what=uri, goes=False, why=why)
    if begun := record.of(entry.version, RETIRING):
        return Standing(what=uri, goes=True, why=f"its retirement was begun on {record.clock.day(begun[-1].at)}")
    if _superseded(entry, record):
        return _by_period(entry, record, today)
    return _candidate(entry, record, today)


def leftover_standing(leftover: Leftover, record: Record, entries: Sequence[Entry], today: date) -> Standing:
    """What is to become of the run and the files of a publication on which no version stands.

    A whole version whose entry was deleted by hand looks alike, and what its run says of itself may be changed.
    """
    kind, _, rest = leftover.key.partition("/")
    batch = record.batch(rest.rpartition("/")[2]) if kind == "candidate" else None
    begun = record.clock.day(leftover.begun)

    def stays(why: str, *, overdue: bool = False) -> Standing:
        return Standing(what=leftover.key, goes=False, why=why, run_id=leftover.run_id, overdue=overdue)

    if (known := _known_leftover(leftover, record)) is not None:
        return stays(known)
    if lost := record.lost(entries):
        return stays(f"it may be what {', '.join(lost[:3])} was, whose entry was deleted by hand", overdue=True)
    if kind == "candidate" and batch is None:
        return stays("it is a publication of a batch that is not on record here")
    if batch is not None and batch.status in _LIVE:
        return stays(f"batch {batch.id}, which is {batch.status}, still works on it")
    if batch is None and today - begun <= _AT_WORK:
        return stays(f"it was begun on {begun} and may still be at work")
    there = {entry.version.uri for entry in entries}
    deleted = bool(record.known(rest.partition("/")[0]) - there)
    whole = leftover.finished or deleted if batch is None else record.registered_by(batch)
    if whole:
        return stays(
            "it may be a whole version whose entry was deleted by hand: if nobody needs it, delete run "
            f"{leftover.run_id} by hand as well, with its files",
            overdue=True,
        )
    why = "its publication was never finished, and no version stands on it"
    return Standing(what=leftover.key, goes=True, why=why, run_id=leftover.run_id)


def _known_leftover(leftover: Leftover, record: Record) -> str | None:
    """Why a run stays that the record knows."""
    if (held := record.held(None, leftover.run_id)) is not None:
        return held
    if any(each.event == RETIRED_EVENT and each.detail.get("run") == leftover.run_id for each in record.events):
        return "its version was retired, and the entry of it was deleted since: only documents are left"
    return None


def _held_or_named(entry: Entry, record: Record, today: date) -> Standing | None:
    """The standing of a version under legal hold, which is on record, or under an alias, which anybody may set."""
    version = entry.version
    if (held := record.held(version.uri, version.run_id)) is not None:
        return Standing(what=version.uri, goes=False, why=held)
    named = sorted(set(version.aliases) - {PREVIOUS})  # that one protects until its period ends
    if not named:
        return None
    why = f"alias {', '.join(named)} names it"
    late = CHAMPION not in named and _superseded(entry, record) and _promised(entry, record) <= today
    if late:
        why += (
            f", and its period ended on {_promised(entry, record)}: remove the alias, or put the version under legal "
            "hold with 'revs retire --hold'"
        )
    return Standing(what=version.uri, goes=False, why=why, overdue=late)


def _protected(entry: Entry, record: Record) -> str | None:
    """What else keeps a version whatever the date."""
    version = entry.version
    if record.rolled_back(version):
        return "it was rolled back, and nothing has come in its place since"
    maker = record.maker(version)
    for batch in record.batches:
        if batch.status in _LIVE and (batch.source == version.uri or batch.id == maker):
            was = "was made from it" if batch.source == version.uri else "made it"
            return f"batch {batch.id}, which is {batch.status}, {was}"
    champions = record.champions(version.name)
    if champions and champions[-1][1] == version.version:
        return "it is the champion by the log: the alias was moved by hand"
    return None


def _superseded(entry: Entry, record: Record) -> bool:
    """Whether a version was champion and is no more, or held what was erased, by the record.

    By its tag alone where it is a base whose weights stay under a later number.
    """
    version = entry.version
    if any(number == version.version for _, number in record.champions(version.name)):
        return True
    own = [batch for batch in record.batches if batch.model == version.name]
    if any(batch.status == "completed" and batch.source == version.uri and version_made_by(batch) for batch in own):
        return True
    by_tag = version.tags.get(STATUS) == SUPERSEDED and record.took_the_place(version)
    as_registered = replace(version, tags=version.tags | {WEIGHTS: record.weights_of(version) or ""})
    return record.maker(version) is None and (by_tag or bool(erased_from(as_registered, own)))


def _by_period(entry: Entry, record: Record, today: date) -> Standing:
    """Whether the period of a superseded version has ended: the latest of what its tag and the record say counts."""
    version, promised = entry.version, _promised(entry, record)
    tag = version.tags.get(RETIRE_ON)
    tagged = _day(tag)
    if tag is not None and tagged is None:
        why = f"its tag {RETIRE_ON!r} is {tag!r}, which is no date: correct it"
        return Standing(what=version.uri, goes=False, why=why, overdue=promised <= today)
    until = max(filter(None, (promised, tagged)))
    said = (
        "" if tagged is None or tagged >= promised else f" by the record; its tag says {tagged}, which shortens nothing"
    )
    if until > today:
        late = promised <= today
        if late:
            said = (
                f" by its tag {RETIRE_ON!r}, and by the record on {promised}: put that day back into the tag, or the "
                "version under legal hold with 'revs retire --hold'"
            )
        why = f"its period ends on {until}{said}"
        return Standing(what=version.uri, goes=False, why=why, until=until, overdue=late)
    why = f"it was superseded, and its period ended on {until}{said}"
    return Standing(what=version.uri, goes=True, why=why, until=until)


def _promised(entry: Entry, record: Record) -> date:
    """Until when the bytes of a superseded version stay, by the record.

    The day that the evidence of the batch names which was made from it, unless that had come when the version was
    superseded; else the retention period after that. Of what the record does not know, after its registration.
    """
    version = entry.version
    named = [
        day
        for batch in record.batches
        if batch.status == "completed" and batch.source == version.uri
        if (day := _day(((batch.outcome.get("evidence") or {}).get("model") or {}).get("retire_on"))) is not None
    ]
    ended = record.clock.day(_ended(entry, record) or entry.registered)
    last = max(named, default=None)
    return last if last is not None and last > ended else ended + record.retention


def _ended(entry: Entry, record: Record) -> datetime | None:
    """When another version took the place of a version for the last time."""
    champions = record.champions(entry.version.name)
    own = [at for at, number in champions if number == entry.version.version]
    since = own[-1] if own else entry.registered
    return next((at for at, number in champions if at > since and number != entry.version.version), None)


def _candidate(entry: Entry, record: Record, today: date) -> Standing:
    """Whether a version that was never champion goes: a candidate of a batch that is closed."""
    version = entry.version
    maker = record.maker(version)
    if maker is None:
        return Standing(what=version.uri, goes=False, why="nobody replaced it, and no batch made it")
    batch = record.batch(maker)
    if batch is None:
        return Standing(what=version.uri, goes=False, why=f"batch {maker}, which made it, is not on record here")
    until = record.clock.day(entry.registered) + record.retention
    was = f"batch {batch.id}, which made it, is {batch.status}, and nobody promoted it"
    if until > today:
        return Standing(what=version.uri, goes=False, why=f"{was}: its period ends on {until}", until=until)
    return Standing(what=version.uri, goes=True, why=f"{was}; its period ended on {until}", until=until)


def _day(text: object) -> date | None:
    try:
        return date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
