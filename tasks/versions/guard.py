"""Watches the aliases: what serves is what the request store's log says was made champion, and it lacks no erasure."""

from __future__ import annotations

from dataclasses import dataclass

from infra.registry import ModelVersion, Registry
from infra.registry.records import PARENT, RETIRED, STATUS
from infra.requests import RequestStore
from infra.settings import Settings
from revs.errors import BadInput, OperationFailed, RevsError
from tasks.batch.stage import open_registry, open_store
from tasks.versions.lineage import contradictions, lacking, missing_erasures, require_on_record
from tasks.versions.served import RESTORED, last_served, registered_here, served_models


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarded:
    """What was found of one model.

    Attributes:
        model: its registered name.
        problems: what is wrong and still is, each with the remedy.
        restored: the version to which the alias was moved back; None where it was not.
    """

    model: str
    problems: tuple[str, ...]
    restored: str | None = None


def reconcile(settings: Settings, *, restore: bool) -> list[Guarded]:
    """Compare the champion of every model that this installation serves with its own record. Idempotent.

    Args:
        settings: the installation.
        restore: whether an alias that was moved elsewhere is moved back; else it is only told.

    Raises:
        OperationFailed: the registry or the request store cannot be asked.
    """
    registry, store = open_registry(settings), open_store(settings)
    there = set(registry.names())
    return [
        _reconciled(registry, store, name, restore=restore) if name in there else _gone(store, name)
        for name in served_models(store)
    ]


def _gone(store: RequestStore, name: str) -> Guarded:
    why = (
        f"model {name!r} is gone from the registry, and {last_served(store, name)} served: restore the registry from a "
        "backup"
    )
    return Guarded(model=name, problems=(why,))


def _reconciled(registry: Registry, store: RequestStore, name: str, *, restore: bool) -> Guarded:
    if moved_alias(registry, store, name) is not None and restore:
        with store.moving_alias(name):
            serves = str(last_served(store, name))
            if (why := moved_alias(registry, store, name)) is not None:
                try:
                    _move_back(registry, store, name, serves)
                except RevsError as error:
                    return Guarded(model=name, problems=(f"{why}; it was not moved back: {error}",))
                return Guarded(model=name, problems=tuple(_of_champion(registry, store, name)), restored=serves)
    moved = moved_alias(registry, store, name)
    return Guarded(model=name, problems=tuple([moved] if moved else _of_champion(registry, store, name)))


def moved_alias(registry: Registry, store: RequestStore, name: str) -> str | None:
    """What is wrong with the champion alias by the log, with the remedy; None where nothing is.

    A promotion that was cut off between the alias and the log is not: the run that goes on with its batch finishes it.
    """
    serves = last_served(store, name)
    if serves is None or serves == f"models:/{name}/{(number := registry.alias(name))}":
        return None
    back = "move it back with 'revs reconcile --restore'"
    if number is None:
        return f"the champion alias of {name!r} is gone, and {serves} served: {back}"
    try:
        champion = registry.champion(name)
    except BadInput:
        return f"the champion alias of {name!r} names version {number}, which was deleted, and {serves} served: {back}"
    if _being_promoted(store, champion):
        return None
    keep = "" if champion.tags.get(STATUS) == RETIRED else f", or let it serve with '{promoting(champion)}'"
    return (
        f"the champion alias of {name!r} was moved to version {number} by somebody else; by the audit log {serves} "
        f"serves: {back}{keep}"
    )


def promoting(version: ModelVersion) -> str:
    """The command that makes the version champion, whatever it was before."""
    new = "" if PARENT in version.tags or version.was_champion else " --new-root"
    return f"revs promote {version.uri}{new} --approved-by NAME"


def _being_promoted(store: RequestStore, champion: ModelVersion) -> bool:
    """Whether the run of an open batch registered it: not by its tags, which are anybody's."""
    open_batches = {batch.id for batch in store.batches(champion.name) if batch.status == "open"}
    return registered_here(store, champion, by=open_batches)


def _of_champion(registry: Registry, store: RequestStore, name: str) -> list[str]:
    champion = registry.champion(name)
    found = [lacking(champion, missing)] if (missing := missing_erasures(registry, store, champion)) else []
    try:
        registry.verify(champion)
        denied = contradictions(store, champion, registry.evidence(champion))
    except OperationFailed as error:
        return [*found, str(error)]
    return [*found, *(f"{champion.uri} was changed after it was registered: {each}" for each in denied)]


def _move_back(registry: Registry, store: RequestStore, name: str, serves: str) -> None:
    version, now = registry.resolve(serves), registry.alias(name)
    require_on_record(store, version, registry.evidence(version))
    registry.reinstate(version, instead_of=None)
    store.record(RESTORED, detail={"version": serves, "instead_of": f"models:/{name}/{now}" if now else None})
