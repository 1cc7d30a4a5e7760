"""Key services: what wraps deployment keys under a key that never leaves it, as a KMS does; found by the address.

    file:///run/secrets/kek    keys in a file of another place                 `infra.keys.local`
    aws-kms://KEY              AWS KMS; KEY is an id, an alias or an ARN       `infra.keys.aws`

Others come with packages that declare an entry point of the group `revs.key_services`: its name is what addresses begin
with, and it makes a `KeyService` from an address.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from revs.errors import BadInput, OperationFailed

GROUP = "revs.key_services"
_OURS = (
    EntryPoint("file", "infra.keys.local:LocalKeys", GROUP),
    EntryPoint("aws-kms", "infra.keys.aws:AwsKms", GROUP),
)


class KeyService(Protocol):
    """Wraps short secrets. Its errors are `RevsError`, one line without the secret."""

    def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """Return what only `unwrap` with the same context opens."""
        ...

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the secret.

        Raises:
            OperationFailed: It was wrapped by another service or key, with another context, or was altered.
        """
        ...


def key_service(address: str) -> KeyService:
    """Return the key service at an address.

    Raises:
        BadInput: There is no such kind, or the address is none of its kind.
        OperationFailed: It cannot be used.
    """
    kind, is_address, _ = address.partition("://")
    kinds = {each.name: each for each in (*entry_points(group=GROUP), *_OURS)}  # nobody's package replaces ours
    if not is_address or kind not in kinds:
        named = f"={kind}://…" if is_address else ""  # anything else could be a key, put there by mistake
        raise BadInput(
            f"REVS_KEY_SERVICE{named} is no address of a key service; begin it with one of "
            f"{', '.join(f'{name}://' for name in sorted(kinds))}, or install the package that knows it"
        )
    try:
        make = kinds[kind].load()
    except (ImportError, AttributeError) as error:
        needed = " (pip install 'revs[aws]')" if kind == "aws-kms" else ""
        raise OperationFailed(
            f"the key service {kind} cannot be loaded: {error}; install what it needs{needed}"
        ) from None
    service: KeyService = make(address)
    return service


def does_not_open(service: str) -> OperationFailed:
    """The error of what a service does not unwrap."""
    return OperationFailed(
        f"{service} does not open it: it was wrapped under another key, was damaged, or is of another installation; "
        "restore the one that belongs to it"
    )
