"""Detection in every reading of a text (infra/identifiers/readings.py): it finds what the search for known identifiers
finds.

Each reading is read in plain characters (infra/identifiers/plain.py), and its findings are brought back to places in
the text as written. Of two findings that contradict each other the better reading decides:

- one that begins or ends inside an escape gives way, as `u003cjane@example.com` in front of "<" read as JSON: except
  after an `=` that only might begin an escape, as in `to=ADA@example.com`;
- one that holds an escape gives way to the one without it; but in the path of a URL percent-encoding stays as it is;
- a line break counts as nothing only where no whole identifier stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from infra.detection.findings import Finding, without_parts
from infra.identifiers.plain import plain
from infra.identifiers.readings import Reading, Steps, decoded, span_of, unwrapped

_OVER_LINES = ("EMAIL_ADDRESS", "URL")
Find = Callable[[str], Iterable[Finding]]
Token = tuple[int, int, str]


def in_readings(text: str, find: Find) -> list[Finding]:
    """What `find` gives in each reading of `text`, without the parts of longer findings."""
    found = _of_reading(text, (), find)
    steps: Steps = ()
    without_escapes = decoded(text)
    if without_escapes is not None:
        steps = (without_escapes,)
        more = _of_reading(without_escapes.text, steps, find)
        found = _decided(text, found, more, without_escapes.tokens)
    joined = unwrapped(steps[-1].text if steps else text)
    if joined is not None and not all(_settled(steps, token, found) for token in joined.tokens):
        further = _of_reading(joined.text, (*steps, joined), find)
        found += [finding for finding in further if not _stands(finding, found)]
    return without_parts(found)


def _of_reading(text: str, steps: Steps, find: Find) -> list[Finding]:
    simple = plain(text)
    if simple is not None:
        text, steps = simple.text, (*steps, simple)
    if not steps:
        return list(find(text))
    return [moved for finding in find(text) if (moved := _moved(finding, steps))]


def _moved(finding: Finding, steps: tuple[Reading, ...]) -> Finding | None:
    span = span_of(steps, finding.start, finding.end)
    return span and Finding(start=span[0], end=span[1], type=finding.type, score=finding.score)


def _settled(steps: Steps, token: Token, found: Iterable[Finding]) -> bool:
    """Whether an identifier begins right after a line break, and so nothing can be found across it."""
    behind = span_of(steps, token[1], token[1] + 1)
    return behind is not None and any(each.start == behind[0] and each.type in _OVER_LINES for each in found)


def _stands(finding: Finding, among: Iterable[Finding]) -> bool:
    """Whether one of the same type already stands where this one does."""
    return any(finding.type == other.type and _overlap(finding, other) for other in among)


def _overlap(one: Finding, other: Finding) -> bool:
    return one.start < other.end and other.start < one.end


def _decided(text: str, written: Sequence[Finding], read: Sequence[Finding], tokens: Sequence[Token]) -> list[Finding]:
    """The findings of the text as written and of its reading without escapes, of two that contradict each other one."""
    stays, goes = [], []
    for finding in written:
        against = [other for other in read if _overlap(finding, other) and _differ(finding, other)]
        within = [token for token in tokens if token[0] < finding.end and finding.start < token[1]] if against else []
        if not within:
            stays.append(finding)
        elif _holds(text, finding, within):
            stays.append(finding)
            goes += [other for other in against if other.type == finding.type]
    return [*stays, *(finding for finding in read if finding not in goes)]


def _differ(one: Finding, other: Finding) -> bool:
    return (one.start, one.end, one.type) != (other.start, other.end, other.type)


def _holds(text: str, finding: Finding, within: Sequence[Token]) -> bool:
    """Whether a finding of the text as written is right although it touches escapes."""
    for start, end, meaning in within:
        inside = finding.start <= start and end <= finding.end
        part_of_url = inside and finding.type == "URL" and text[start] in "%="
        after_equals = text[start] == "=" and finding.start == start + 1 and len(meaning) == 1 and not meaning.isascii()
        if not (part_of_url or after_equals):
            return False
    return True
