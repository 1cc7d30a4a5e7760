"""Where the deployment key of an installation comes from: its key file, the environment, or a Prefect Secret block."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.keys.blocks import secret_of
from infra.keys.keyfile import read_or_create_keys
from infra.keys.lines import decode_key
from infra.keys.local import path_of
from infra.keys.services import KeyService, key_service
from revs.errors import BadInput

if TYPE_CHECKING:
    from infra.settings import Settings


def elsewhere(settings: Settings) -> str | None:
    """Return the setting by which the key is kept elsewhere than in the key file, or None.

    Raises:
        BadInput: Two settings contradict each other.
    """
    block, key = settings.deployment_key_block is not None, settings.deployment_key is not None
    if block and key:
        raise BadInput("REVS_DEPLOYMENT_KEY and REVS_DEPLOYMENT_KEY_BLOCK are both set; unset one of them")
    if block and settings.earlier_keys is not None:
        raise BadInput(
            "REVS_EARLIER_KEYS and REVS_DEPLOYMENT_KEY_BLOCK are both set; put the earlier keys into the block, after "
            "the one in use, and unset REVS_EARLIER_KEYS"
        )
    found = "REVS_DEPLOYMENT_KEY_BLOCK" if block else "REVS_DEPLOYMENT_KEY" if key else None
    if found and settings.key_service is not None:
        raise BadInput(
            f"REVS_KEY_SERVICE wraps the keys of the key file, and {found} is used instead of it; unset one of them"
        )
    return found


def service_of(settings: Settings) -> KeyService | None:
    """Return the key service that wraps the lines of the key file; None: they are plain.

    Raises:
        BadInput: There is no such service, or its keys lie beside what they wrap.
        OperationFailed: It cannot be used.
    """
    address = settings.key_service
    if address is None:
        return None
    if address.startswith("file://") and path_of(address).resolve().is_relative_to(settings.home.resolve()):
        raise BadInput(
            f"REVS_KEY_SERVICE names a file in the home folder {settings.home}, where what it wraps lies; keep it "
            "elsewhere"
        )
    return key_service(address)


def deployment_keys(settings: Settings) -> list[bytes]:
    """Return the deployment key in use and after it the earlier ones; the key file is made on first use.

    Raises:
        BadInput: What is configured is no key, or contradicts itself.
        OperationFailed: The key cannot be read, or does not open.
    """
    match elsewhere(settings):
        case None:
            _refuse_a_new_one_beside_a_store(settings)
            return read_or_create_keys(settings.key_file, service_of(settings))
        case "REVS_DEPLOYMENT_KEY_BLOCK":
            block = settings.deployment_key_block or ""
            found = secret_of(block).replace(",", " ").split() or [""]
            return [decode_key(text, origin=f"a key of the Prefect Secret block {block}") for text in found]
    key = settings.deployment_key.get_secret_value() if settings.deployment_key else ""
    earlier = settings.earlier_keys.get_secret_value() if settings.earlier_keys else ""
    return [
        decode_key(key, origin="REVS_DEPLOYMENT_KEY"),
        *(decode_key(text, origin="a key of REVS_EARLIER_KEYS") for text in earlier.split(",") if text.strip()),
    ]


def _refuse_a_new_one_beside_a_store(settings: Settings) -> None:
    """Raise BadInput where the key file is gone and what was sealed under it is there: a new key opens nothing."""
    store = settings.home / "requests.db"
    had_one = settings.database_url is None and store.exists() and store.stat().st_size > 0
    if had_one and not settings.key_file.exists():  # in this order: of a store that is just being made the key is first
        raise BadInput(
            f"{settings.key_file} is gone, and {store} holds what was sealed under it; restore it, or set "
            "REVS_DEPLOYMENT_KEY to the key this installation had; nothing was changed"
        )


def name_of_source(settings: Settings) -> str:
    """Return where the key comes from, for people.

    Raises:
        BadInput: Two settings contradict each other.
    """
    match elsewhere(settings):
        case None:
            kind = f", wrapped by {settings.key_service.partition('://')[0]}://…" if settings.key_service else ""
            return f"{settings.key_file}{kind}"
        case "REVS_DEPLOYMENT_KEY_BLOCK":
            return f"the Prefect Secret block {settings.deployment_key_block}"
    return "REVS_DEPLOYMENT_KEY"
