"""`revs keys`: another deployment key, and everything that is stored brought to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from flows.cli.common import Home, Json, answer, settings_of
from flows.cli.requests import store_of

if TYPE_CHECKING:
    from infra.settings import Settings

app = typer.Typer(help="The deployment key: rotate it.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """The deployment key: rotate it."""


@app.command()
def rotate(home: Home = None, as_json: Json = False) -> None:
    """Put a new deployment key in use, and bring every sealed payload to it. Stop what is running first.

    The key file gets a new first line; earlier keys stay below it, for what is known of completed requests has names
    under them. With REVS_DEPLOYMENT_KEY: set it to a new key, REVS_EARLIER_KEYS to those that were in use, the latest
    first, and run this. A rotation that was cut off is ended by running it again.

    Example: revs keys rotate
    """
    from infra.keys.keyfile import alone

    settings = settings_of(home)
    with alone(settings.key_file):  # of two at once the second finds what the first has made
        payloads, clean = _rotate(settings)
    left = "" if clean else "; another process keeps the database busy, so old bytes are left in its files for now"
    answer({"payloads": payloads, "clean": clean}, f"{payloads} payloads are under the new key{left}", as_json=as_json)


def _rotate(settings: Settings) -> tuple[int, bool]:
    from infra.keys.keyfile import add_key
    from revs.errors import BadInput

    store = store_of(settings)
    if store.must_rotate():
        return store.rotate()
    if settings.deployment_key is not None:
        raise BadInput(
            "REVS_DEPLOYMENT_KEY is the key that everything is stored under already: set it to a new one, and "
            "REVS_EARLIER_KEYS to the present one, then run this again"
        )
    if open_ones := [batch.id for batch in store.batches() if batch.status == "open"]:
        raise BadInput(f"batch {open_ones[0]} is open: let it end, or give it up with 'revs batches abandon'")
    store.examine_payloads()
    add_key(settings.key_file)
    return store_of(settings).rotate()
