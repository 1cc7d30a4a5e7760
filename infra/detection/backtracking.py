"""Patterns of a customer: which are refused for their form, and how long the others may run.

A repeat inside a repeat can take exponential time, and is refused; what the form does not show, the clock stops. The
time a text may take grows with its length, so that a pattern that needs time in proportion gets through any text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from re import _parser  # type: ignore[attr-defined]  # typeshed omits it; no public parser of expressions exists
from typing import Any

from revs.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long own patterns may run.

    Attributes:
        pattern_seconds: one pattern on one text, before what its length adds.
        document_seconds: all patterns on one text, before what its length adds.
        seconds_per_million: added to both for a million characters.
        stops: after that many stops a pattern is not tried again in this process.
    """

    pattern_seconds: float = 1.0
    document_seconds: float = 4.0
    seconds_per_million: float = 2.0
    stops: int = 20

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 3600:
                raise BadInput(f"limits: {name} {value!r} is no number above 0 and at most 3600; correct it")

    def for_pattern(self, text: str) -> float:
        """Seconds for one pattern on this text."""
        return self.pattern_seconds + self.seconds_per_million * len(text) / 1e6

    def for_document(self, text: str) -> float:
        """Seconds for all patterns together on this text."""
        return self.document_seconds + self.seconds_per_million * len(text) / 1e6


def check_pattern(where: str, pattern: str) -> None:
    """Refuse a pattern that is none, that matches empty text, or whose form can take exponential time.

    Raises:
        BadInput: with `where` before the reason.
    """
    import regex

    try:
        compiled = regex.compile(pattern)
        parsed = _parser.parse(pattern)
    except (regex.error, re.error, RecursionError, OverflowError) as error:
        reason = str(getattr(error, "msg", "too deep"))
        raise BadInput(f"{where}: the pattern is no regular expression ({reason}); correct it") from None
    if compiled.search("") is not None:
        raise BadInput(f"{where}: the pattern matches empty text; let it need at least one character")
    if _nests_repeats(parsed, within=False):
        raise BadInput(f"{where}: a repeat inside a repeat can take exponential time; bound or separate them")


def _nests_repeats(parsed: Any, *, within: bool) -> bool:
    """Whether an unbounded repeat holds another repeat of no fixed length: the form behind exponential matching."""
    for operation, argument in parsed:
        if str(operation) in {"MAX_REPEAT", "MIN_REPEAT"}:
            low, high, body = argument
            many = high > 100
            if (within and low != high) or _nests_repeats(body, within=within or many):
                return True
        elif any(_nests_repeats(part, within=within) for part in _parts_of(argument)):
            return True
    return False


def _parts_of(argument: Any) -> Iterator[Any]:
    """Sub-expressions inside the argument of an operation."""
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, list | tuple):
        for part in argument:
            yield from _parts_of(part)
