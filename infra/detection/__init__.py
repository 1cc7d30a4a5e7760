"""Personal data that nobody named: Microsoft Presidio's recognisers, offline, on the stretches of text that need them.

Nothing is downloaded: the public-suffix list is the one packed with tldextract, and no language model is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from revs.errors import BadInput

if TYPE_CHECKING:
    from infra.detection.custom import CustomRecogniser

DEFAULT_TYPES = ("EMAIL_ADDRESS", "US_SSN", "PHONE_NUMBER", "URL", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS")
DEFAULT_MIN_SCORE = 0.4
"""Presidio's score of a phone number without context; a bare nine-digit number has 0.05 and is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Personal data at `text[start:end]`, with Presidio's type and score (0 to 1)."""

    start: int
    end: int
    type: str
    score: float


class Detector:
    """Finds typed personal data in text, in process and without network. Recognisers are built at the first call.

    Args:
        types: types to look for, a subset of `DEFAULT_TYPES`.
        min_score: findings with a lower score (0 to 1) are left out.
        custom: recognisers of the customer's own identifiers (infra/detection/custom.py), beside those types.

    Raises:
        BadInput: a type is unknown or needs a named-entity model, or a custom score can never reach `min_score`.
    """

    def __init__(
        self,
        types: Iterable[str] = DEFAULT_TYPES,
        *,
        min_score: float = DEFAULT_MIN_SCORE,
        custom: Sequence[CustomRecogniser] = (),
    ) -> None:
        self.types = tuple(dict.fromkeys(types))
        self.min_score = min_score
        self.custom = tuple(custom)
        for stated in self.custom:
            if not stated.context and stated.score < min_score:
                raise BadInput(
                    f"recogniser {stated.name!r}: score {stated.score} is below {min_score}, the least reported; "
                    "raise it or name context words"
                )
        unknown = [type_ for type_ in self.types if type_ not in DEFAULT_TYPES]
        if unknown or not self.types:
            given = ", ".join(unknown) or "none"
            raise BadInput(f"cannot detect these types: {given}; choose from {', '.join(DEFAULT_TYPES)}")

    def find(self, text: str) -> list[Finding]:
        """Findings in order of their place; one that lies within a longer one of no lower score is left out."""
        from infra.detection.engine import decide

        found = decide(text, self.recognisers, self.min_score)
        return without_parts({Finding(start=s, end=e, type=type_, score=score) for s, e, type_, score in found})

    @cached_property
    def recognisers(self) -> list[Any]:
        """The recognisers behind `find`, for `infra.detection.engine.presidio_engine` to be compared with."""
        from infra.detection.engine import recognisers

        return recognisers(self.types, self.custom)


def without_parts(findings: Iterable[Finding]) -> list[Finding]:
    """An e-mail address holds a domain that reads as a URL: keep the whole; of one place and type the highest score."""
    kept: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (f.start, -f.end, -f.score, f.type)):
        if not any(_is_part(finding, whole) for whole in kept):
            kept.append(finding)
    return kept


def _is_part(part: Finding, whole: Finding) -> bool:
    within = whole.start <= part.start and part.end <= whole.end
    if not within or part.score > whole.score:
        return False
    return part.end - part.start < whole.end - whole.start or part.type == whole.type
