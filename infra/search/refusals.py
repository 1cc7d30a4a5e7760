"""Identifiers that are not sought, and ones whose places are not taken: one refused leaves the rest of its request.

A reason is what follows "identifier 3" in a sentence, and shows no value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from infra.identifiers.normalise import normal_form
from revs.errors import BadInput

if TYPE_CHECKING:
    from infra.requests import Identifier

MIN_CHARACTERS = 4
"""Fewest characters of a normal form that can be sought; shorter ones stand everywhere."""
MAX_SHARE = 0.1
"""Largest share of a corpus's rows that one identifier may stand in; what stands in more is a word, and nobody's."""
JUDGED_ROWS = 100
"""Fewest rows of a corpus in which a share says something."""
_NAMED_AT_MOST = 10

Named = tuple[str, int, str]
"""An identifier: the id of its request, its number there, and its type."""
Key = tuple[str, int]
"""An identifier: the id of its request, and its number there."""


def unsearchable(identifiers: Mapping[str, Sequence[Identifier]]) -> dict[Key, str]:
    """The identifiers, given by request id, that cannot be sought, each with the reason."""
    return {
        (request_id, identifier.number): (
            f"has too few characters to be sought ({length}, and {MIN_CHARACTERS} are needed); complete it"
        )
        for request_id, wanted in identifiers.items()
        for identifier in wanted
        if (length := len(normal_form(identifier.type, identifier.value))) < MIN_CHARACTERS
    }


def refuse(reasons: Mapping[Key, str]) -> None:
    """Raise BadInput with the reasons, if there are any; it lists the identifiers by request and number."""
    if not reasons:
        return
    some = "; ".join(
        f"request {request_id}: identifier {number} {reason}"
        for (request_id, number), reason in list(reasons.items())[:_NAMED_AT_MOST]
    )
    more = f"; and {len(reasons) - _NAMED_AT_MOST} more identifiers" if len(reasons) > _NAMED_AT_MOST else ""
    raise BadInput(f"identifiers that cannot be sought: {some}{more}")


def too_common(rows_hit: Mapping[Named, int], rows: int) -> dict[Key, str]:
    """The identifiers that stand in more than `MAX_SHARE` of the rows of a corpus, each with the reason.

    Args:
        rows_hit: in how many rows each identifier stands; of shards that were searched apart, the sum.
        rows: how many rows were read, of all shards together; below `JUDGED_ROWS` nothing is refused.
    """
    return {
        (request_id, number): (
            f"stands in {hit} of {rows} rows, at most {int(MAX_SHARE * rows)} can be one person's; complete it"
        )
        for (request_id, number, _), hit in sorted(rows_hit.items())
        if rows >= JUDGED_ROWS and hit > MAX_SHARE * rows
    }
