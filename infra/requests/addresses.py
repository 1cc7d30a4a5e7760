"""References in place of addresses: a path or an address can be personal data, and these stand outside as well.

A reference is a keyed pseudonym, so that it tells nothing and is the same for the same address.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from infra.keys.vault import Vault
from infra.requests import tables
from revs.errors import BadInput

PREFIX = "address-"
_DIGITS = 24


def keep(session: Session, vault: Vault, address: str) -> str:
    """Put an address on record and return its reference, that of an earlier deployment key where it has one."""
    references = [PREFIX + name[:_DIGITS] for name in vault.pseudonyms(address, kind="address")]
    for reference in references:
        if session.get(tables.Address, reference) is not None:
            return reference
    session.add(tables.Address(reference=references[0], address=address))
    return references[0]


def find(session: Session, reference: str) -> str:
    """Return the address of a reference; what is no reference is itself the address.

    Raises:
        BadInput: A reference that is not on record here.
    """
    if not reference.startswith(PREFIX):
        return reference
    row = session.get(tables.Address, reference)
    if row is None:
        raise BadInput(f"{reference} is not on record in this installation; name the corpus itself with --corpus")
    return row.address
