"""Takes what other systems put into the inbox; what goes wrong with that stops no batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from infra.registry.generation import generation_of
from infra.requests import Intake
from infra.requests.inbox import Collected, Inbox
from infra.running.deployment import is_scheduled
from infra.settings import Settings, load_settings
from revs.errors import BadInput, RevsError
from tasks.batch.stage import open_registry, open_store, run_log


def collect(settings: Settings, address: str) -> Collected:
    """Take the request files at an address. A request need not name its model where one alone is registered.

    Raises:
        BadInput: The address is none, or no model is registered; no file was touched.
        OperationFailed: The inbox, the store or the registry cannot be used; what was taken is taken.
    """
    inbox, registry = Inbox(address, after=settings.inbox_taken), open_registry(settings)
    names: Sequence[str] = registry.names()
    if not names:
        raise BadInput("no model is registered yet; register one, then collect again: the files wait")
    store, model = open_store(settings), names[0]

    def take(data: bytes, name: str) -> Intake:
        return store.add_bytes(
            data,
            name=name,
            model=model,
            generation=partial(generation_of, registry),
            models=names,
            must_name=len(names) > 1,
        )

    return inbox.collect(take)


def take_from_inbox() -> None:
    """Look through the inbox (`REVS_INBOX`), where there is one, before a scheduled run opens a batch.

    A run that somebody starts does not: `revs demo` has another store, into which nobody's request belongs.
    """
    settings = load_settings()
    if settings.inbox is None or not is_scheduled():
        return
    try:
        found = collect(settings, settings.inbox)
    except RevsError as error:
        run_log().warning(str(error))
        return
    if found != Collected():
        log = run_log()
        (log.warning if found.stuck or found.refused else log.info)(summary(found))


def summary(found: Collected) -> str:
    """Return what a look brought, in one line; no file is named, for names may be people's."""
    return (
        f"{found.taken} files taken, {found.refused} refused, {found.left} left because they changed, {found.stuck} "
        f"that could not be read, moved or destroyed; requests: {found.accepted} accepted, "
        f"{found.rejected} rejected, {found.duplicates} duplicates"
    )
