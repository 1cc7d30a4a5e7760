"""Addresses of corpora, kept in the home folder under keyed ids.

A path or an address may name a person or a customer. Registry, orchestration and request store hold the id alone; the
address stands in one file of the installation, readable by its owner only.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from infra.corpus import absolute
from infra.vault import Vault
from revs.errors import BadInput, OperationFailed

if TYPE_CHECKING:
    from infra.settings import Settings

_ID = re.compile(r"corpus-[0-9a-f]{32}")


def remember(settings: Settings, source: str) -> str:
    """Keep the address of a corpus or text, and return the id under which it is recorded; an id stays as it is.

    Raises:
        BadInput: the address is malformed, of an unknown kind, or holds a credential.
        OperationFailed: it could not be written.
    """
    if _ID.fullmatch(source):
        return source
    address = absolute(source)
    id_ = f"corpus-{Vault.from_settings(settings).pseudonym(address, kind='corpus address')[:32]}"
    path = settings.home / "corpora" / id_
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(os.fsencode(address))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        raise OperationFailed(
            f"the address of a corpus could not be kept in {path.parent} ({error.strerror}); make room or check your "
            "rights, and start again"
        ) from None
    return id_


def address_of(settings: Settings, recorded: str) -> str:
    """The address behind an id; what is no id is an address itself, as earlier versions recorded it.

    Raises:
        BadInput: this installation does not know the id.
    """
    if not _ID.fullmatch(recorded):
        return recorded
    try:
        return os.fsdecode((settings.home / "corpora" / recorded).read_bytes())
    except OSError:
        raise BadInput(
            f"the address of {recorded} is not kept in this installation; name the corpus with --corpus"
        ) from None
