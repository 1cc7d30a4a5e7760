"""Tells people what happened to requests; what goes wrong with that stops no batch."""

from __future__ import annotations

from infra import notices
from infra.settings import Settings
from revs.errors import RevsError
from tasks.batch.stage import open_store


def notify(settings: Settings) -> str | None:
    """Send what is to be told (`REVS_NOTICES`); return what went wrong in one line, None where nothing did."""
    if settings.notices is None:
        return None
    try:
        sent = notices.send(open_store(settings), settings.notices.get_secret_value(), settings.webhook_secrets)
    except RevsError as error:
        return str(error)
    return refused(sent)


def refused(sent: list[notices.Delivery]) -> str | None:
    """Return which places did not take their notice, in one line; None where all did."""
    failed = [f"{each.place} ({each.events} events)" for each in sent if not each.taken]
    if not failed:
        return None
    return (
        f"{len(failed)} of {len(sent)} places did not take their notice: {', '.join(failed)}; nothing is lost, it is "
        "sent again with the next one: check the address with 'revs notices send'"
    )
