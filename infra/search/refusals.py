"""Identifiers that are not sought, and ones whose places are not taken: too short, or standing nearly everywhere.

No reason shows a value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from infra.normalise import normal_form
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
"""An identifier: the id of its request, its index there, and its type."""


def unsearchable(identifiers: Mapping[str, Sequence[Identifier]]) -> dict[str, str]:
    """Requests with an identifier of fewer than `MIN_CHARACTERS` normalised characters, with the reason."""
    reasons: dict[str, str] = {}
    for request_id, wanted in identifiers.items():
        for index, identifier in enumerate(wanted):
            length = len(normal_form(identifier.type, identifier.value))
            if length < MIN_CHARACTERS:
                reasons.setdefault(
                    request_id,
                    f"identifier {index} ({identifier.type}) has {length} characters after normalisation, "
                    f"{MIN_CHARACTERS} are needed",
                )
    return reasons


def refuse(reasons: Mapping[str, str]) -> None:
    """Raise BadInput with the reasons, if there are any; it lists the requests."""
    if not reasons:
        return
    some = "; ".join(f"request {request_id}: {reason}" for request_id, reason in list(reasons.items())[:_NAMED_AT_MOST])
    more = f"; and {len(reasons) - _NAMED_AT_MOST} more requests" if len(reasons) > _NAMED_AT_MOST else ""
    raise BadInput(f"identifiers too short to be sought: {some}{more}; reject these requests or complete them")


def too_common(rows_hit: Mapping[Named, int], rows: int) -> dict[str, str]:
    """Requests with an identifier that stands in more than `MAX_SHARE` of the rows of a corpus, with the reason.

    Args:
        rows_hit: in how many rows each identifier stands; of shards that were searched apart, the sum.
        rows: how many rows were read, of all shards together; below `JUDGED_ROWS` nothing is refused.
    """
    reasons: dict[str, str] = {}
    for (request_id, index, type_), hit in sorted(rows_hit.items()):
        if rows >= JUDGED_ROWS and hit > MAX_SHARE * rows:
            reasons.setdefault(
                request_id,
                f"identifier {index} ({type_}) stands in {hit} of {rows} rows, at most {int(MAX_SHARE * rows)} can be "
                "one person's; complete it",
            )
    return reasons
