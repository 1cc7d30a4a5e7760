"""The recognisers in one list, run on their windows.

The findings are those of Presidio's `AnalyzerEngine.analyze` with the same recognisers on whole texts, without
tokenising and without reading what no recogniser could care about; tests/presidio_engine.py is that engine.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from infra.detection import card, custom, email, iban, ip, ner, phone, ssn, url
from infra.detection.config import DetectorConfig
from infra.detection.context import USUAL, Labels, adjusted
from infra.detection.findings import Finding, Stopped, Unread
from infra.detection.readings import in_readings
from infra.detection.recogniser import Recogniser, Spans
from infra.identifiers.readings import may_be_disguised

BUILDERS: dict[str, Callable[[], Recogniser]] = {
    "EMAIL_ADDRESS": email.build,
    "US_SSN": ssn.build,
    "PHONE_NUMBER": phone.build,
    "URL": url.build,
    "CREDIT_CARD": card.build,
    "IBAN_CODE": iban.build,
    "IP_ADDRESS": ip.build,
}
Decided = dict[tuple[int, str], tuple[tuple[int, int, float], ...]]
"""What a recogniser, by its `id`, has said of a window: the readings of one text have most of them in common."""
_LOGGERS_THAT_QUOTE_TEXT = ("presidio-analyzer", "decision_process", "tldextract")


def recognisers(config: DetectorConfig) -> list[Recogniser]:
    """The recognisers of a configuration; from here on no logger quotes texts."""
    _quiet()
    known = [BUILDERS[type_]() for type_ in config.types if type_ != "PHONE_NUMBER"]
    if "PHONE_NUMBER" in config.types:
        known.append(phone.build(config.phone_regions))
    own = [custom.build(stated, config.limits) for stated in config.custom]
    return [*known, *own, *(ner.build(config.ner) if config.ner else ())]


def examine(
    text: str, using: Sequence[Recogniser], config: DetectorConfig, known: Labels = USUAL
) -> tuple[list[Finding], tuple[Unread, ...]]:
    """Findings of at least `config.min_score` in every reading of the text, and who did not get through it.

    Recognisers that may run for long share the seconds that the limits allow for one document.
    """
    unread: list[Unread] = []
    left = config.limits.for_document(text)
    decided: Decided | None = {} if may_be_disguised(text) else None  # of a single reading nothing is asked twice

    def find(reading: str) -> list[Finding]:
        nonlocal left
        found: list[Finding] = []
        for recogniser in using:
            started = time.monotonic() if recogniser.timed is not None else 0.0
            try:
                found += _decide(reading, recogniser, config.min_score, known, left, decided)
            except Stopped as stop:
                name = recogniser.name or recogniser.type
                unread.append(Unread(recogniser=name, reason=stop.reason, detail=stop.detail))
            if recogniser.timed is not None:
                left -= time.monotonic() - started
        return found

    return in_readings(text, find), tuple(dict.fromkeys(unread))


def _decide(
    text: str, of: Recogniser, min_score: float, known: Labels, seconds: float, decided: Decided | None
) -> Iterator[Finding]:
    for whole_start, whole_end, first, last in of.windows(text):
        for from_, to, raw in _spans(of, text[whole_start:whole_end], seconds, decided):
            start, end = whole_start + from_, whole_start + to
            if first <= start and end <= last:
                score = adjusted(text, start, of.type, raw, known, min_score) if of.labelled else raw
                if score >= min_score:
                    yield Finding(start=start, end=end, type=of.type, score=score)


def _spans(of: Recogniser, text: str, seconds: float, decided: Decided | None) -> Spans:
    if of.timed is None:
        if decided is None:
            return of.spans(text)
        key = id(of), text
        found = decided.get(key)
        if found is None:
            found = decided[key] = tuple(of.spans(text))
        return found
    if seconds <= 0:
        raise Stopped("was left out", "the patterns before it took all the time that one text may take")
    return of.timed(text, seconds)


def _quiet() -> None:
    """Drop every record of the loggers that quote the text they read, at any level.

    A filter, because a level or `disabled` is undone by a later `logging.config` (Prefect applies one).
    """
    for name in _LOGGERS_THAT_QUOTE_TEXT:
        logging.getLogger(name).addFilter(_drop)


def _drop(_record: logging.LogRecord) -> bool:
    return False
