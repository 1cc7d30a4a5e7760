"""`revs keys`: another deployment key, and everything that is stored brought to it; the signer's public key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from flows.cli.common import Home, Json, answer, settings_of
from flows.cli.requests import store_of

if TYPE_CHECKING:
    from pathlib import Path

    from infra.settings import Settings

app = typer.Typer(help="The deployment key: rotate it, wrap it. The signer of versions.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """The deployment key: rotate it, wrap it. The signer of versions."""


@app.command()
def rotate(home: Home = None, as_json: Json = False) -> None:
    """Put a new deployment key in use, and bring every sealed payload to it. Stop what is running first.

    The key file gets a new first line, wrapped where REVS_KEY_SERVICE is set; earlier keys stay below it, for what is
    known of completed requests has names under them. With REVS_DEPLOYMENT_KEY: set it to a new key, REVS_EARLIER_KEYS
    to those that were in use, the latest first, and run this. With REVS_DEPLOYMENT_KEY_BLOCK: put the new key first in
    the block. A rotation that was cut off is ended by running it again.

    Example: revs keys rotate
    """
    from infra.keys.keyfile import alone

    settings = settings_of(home)
    with alone(settings.key_file):  # of two at once the second finds what the first has made
        payloads, clean = _rotate(settings)
    left = "" if clean else "; another process keeps the database busy, so old bytes are left in its files for now"
    answer({"payloads": payloads, "clean": clean}, f"{payloads} payloads are under the new key{left}", as_json=as_json)


@app.command()
def signer(home: Home = None, as_json: Json = False) -> None:
    """Print the public key of who signs the versions that are registered here; the private one is made if need be.

    Whoever has it can verify versions, as can another installation that names its file in REVS_TRUSTED_SIGNERS. To sign
    with another key: keep what this prints in a file, name that in REVS_TRUSTED_SIGNERS, and name the new private key
    in REVS_SIGNER_KEY.

    Example: revs keys signer > signer.pub
    """
    from infra.keys.signer import Signers, fingerprint

    pem = Signers.of(settings_of(home)).public_pem()
    key = {"fingerprint": fingerprint(pem), "public_key": pem.decode("ascii")}
    answer(key, key["public_key"].rstrip(), as_json=as_json)


@app.command()
def wrap(home: Home = None, as_json: Json = False) -> None:
    """Wrap the lines of the key file by REVS_KEY_SERVICE, those that it wrapped before anew.

    Without that service the file then opens nothing. The plain file may still stand in backups: run 'revs keys rotate'
    afterwards. Stop what is running first, and start it with REVS_KEY_SERVICE.

    Example: revs keys wrap
    """
    _rewrite(home, as_json, wrapped=True)


@app.command()
def unwrap(home: Home = None, as_json: Json = False) -> None:
    """Write the lines of the key file plain again; then unset REVS_KEY_SERVICE, or name another and wrap them.

    Example: revs keys unwrap
    """
    _rewrite(home, as_json, wrapped=False)


def _rewrite(home: Path | None, as_json: bool, *, wrapped: bool) -> None:
    from infra.keys.keyfile import alone, rewrite
    from infra.keys.sources import elsewhere, service_of
    from revs.errors import BadInput

    settings = settings_of(home)
    if (setting := elsewhere(settings)) is not None:
        raise BadInput(f"{setting} is used instead of the key file, so there is nothing to wrap; unset it first")
    service = service_of(settings)
    if service is None:
        raise BadInput("REVS_KEY_SERVICE is not set; set it to the address of the service that wraps the key")
    with alone(settings.key_file):
        count = rewrite(settings.key_file, service, wrapped=wrapped)
    form = "wrapped" if wrapped else "plain; unset REVS_KEY_SERVICE"
    answer({"keys": count, "wrapped": wrapped}, f"{count} keys in {settings.key_file} are {form}", as_json=as_json)


def _rotate(settings: Settings) -> tuple[int, bool]:
    from infra.keys.keyfile import add_key
    from infra.keys.sources import elsewhere, service_of
    from revs.errors import BadInput

    store = store_of(settings)
    if store.must_rotate():
        return store.rotate()
    if (setting := elsewhere(settings)) == "REVS_DEPLOYMENT_KEY":
        raise BadInput(
            "REVS_DEPLOYMENT_KEY is the key that everything is stored under already: set it to a new one, and "
            "REVS_EARLIER_KEYS to the present one, then run this again"
        )
    if setting is not None:
        raise BadInput(
            f"the first key of {setting}={settings.deployment_key_block} is the one that everything is stored under "
            "already: put a new one before it, then run this again"
        )
    if open_ones := [batch.id for batch in store.batches() if batch.status == "open"]:
        raise BadInput(f"batch {open_ones[0]} is open: let it end, or give it up with 'revs batches abandon'")
    store.examine_payloads()
    add_key(settings.key_file, service_of(settings))
    return store_of(settings).rotate()
