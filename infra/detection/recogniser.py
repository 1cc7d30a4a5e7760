"""The shape of every recogniser: what it decides, and the windows on which it has to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from infra.detection.windows import Windows

_FLAGS = int(re.DOTALL | re.MULTILINE | re.IGNORECASE)
Spans = Iterable[tuple[int, int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recogniser:
    """Finds one type.

    `spans` gives start, end and score of what it finds in a text. `presidio` is the `PatternRecognizer` whose
    decisions these are, without the explanations and clocks around each of them; None where none decides. It has no
    context words: labels are weighed for all types in one place (infra/detection/context.py).
    With `labelled` False the score stands as it is. `timed` is `spans` for recognisers that may run for long: it
    takes the seconds it has. Both raise `infra.detection.findings.Stopped` where they do not get through a text.
    """

    type: str
    spans: Callable[[str], Spans]
    windows: Windows
    labelled: bool = True
    name: str = ""
    presidio: Any = None
    timed: Callable[[str, float], Spans] | None = None


def from_patterns(
    type_: str, presidio: Any, windows: Windows, needs: Mapping[str, str] = MappingProxyType({})
) -> Recogniser:
    """A recogniser from a Presidio `PatternRecognizer`: its patterns, its checks, no context words.

    `needs` names, for some of the patterns, what every match of it holds, in lower case: without that in the text the
    pattern is not tried.
    """
    presidio.context = []
    return Recogniser(type=type_, presidio=presidio, spans=_spans_of(presidio, needs), windows=windows)


def _spans_of(presidio: Any, needs: Mapping[str, str]) -> Callable[[str], Spans]:
    flags = presidio.global_regex_flags & _FLAGS
    forms = [(re.compile(form.regex, flags), form.score, needs.get(form.name, "")) for form in presidio.patterns]

    def spans(text: str) -> Spans:
        lower = text.lower() if needs else text
        for expression, score, need in forms:
            if need not in lower:
                continue
            for match in expression.finditer(text):
                written = match[0]
                valid = presidio.validate_result(written)
                if valid is not False and not presidio.invalidate_result(written):
                    yield match.start(), match.end(), 1.0 if valid else score

    return spans


def patterns(*scored: tuple[str, str, float]) -> list[Any]:
    """Presidio patterns from (name, expression, score)."""
    from presidio_analyzer import Pattern

    return [Pattern(name, expression, score) for name, expression, score in scored]
