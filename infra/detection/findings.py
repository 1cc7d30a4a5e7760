"""What detection gives back: findings, and which recognisers could not say anything about the text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Personal data at `text[start:end]`, with Presidio's type and score (0 to 1)."""

    start: int
    end: int
    type: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A recogniser that did not get through the text: one of few reasons, and the figures. No text is quoted."""

    recogniser: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Findings in order of their place, and the recognisers that stopped. Only without these is "nothing" nothing."""

    findings: tuple[Finding, ...]
    unread: tuple[Unread, ...] = ()


class Stopped(Exception):
    """A recogniser did not get through the text; the words are those of `Unread`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


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
