"""Why a human decided something about a version, in words that may stand in the audit log for good."""

from __future__ import annotations

from typing import Final

from revs.errors import BadInput

_CHARACTERS: Final = 200


def checked_reason(reason: str) -> str:
    """A reason on one line that names nobody.

    Raises:
        BadInput: it is empty, too long, not printable, or holds what looks like an identifier.
    """
    from infra.detection import Detector

    text = reason.strip()
    if not text or not text.isprintable() or len(text) > _CHARACTERS:
        raise BadInput(f"the reason is not usable: give one line of 1 to {_CHARACTERS} printable characters")
    if found := Detector().find(text):
        raise BadInput(
            f"the reason holds what looks like {found[0].type}, and it stands in the audit log for good: say it without"
        )
    return text
