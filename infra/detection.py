"""Personal data that nobody named: Microsoft Presidio, offline.

No spaCy model is needed, because no type here comes from named-entity recognition: a blank English pipeline splits
words, and words in lower case stand for lemmas, so that context ("SSN", "phone") raises a score. Nothing is downloaded:
the public-suffix list is the one packed with tldextract.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from revs.errors import BadInput

DEFAULT_TYPES = ("EMAIL_ADDRESS", "US_SSN", "PHONE_NUMBER", "URL", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS")
DEFAULT_MIN_SCORE = 0.4
"""Presidio's score of a phone number without context; a bare nine-digit number has 0.05 and is left out."""

# Every type above holds a digit, an @, a dot inside a word, or two colons; most ordinary text holds none of them.
_CAN_HOLD = re.compile(r"[\d@]|\.\w|::")
_PIPE = "revs_lowercase_lemmas"
_LOGGERS_THAT_QUOTE_TEXT = ("presidio-analyzer", "decision_process", "tldextract")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Personal data at `text[start:end]`, with Presidio's type and score (0 to 1)."""

    start: int
    end: int
    type: str
    score: float


class Detector:
    """Finds typed personal data in text, in process and without network. The engine is built at the first call.

    Args:
        types: types to look for, a subset of `DEFAULT_TYPES`.
        min_score: findings with a lower score (0 to 1) are left out.

    Raises:
        BadInput: a type is unknown or needs a named-entity model.
    """

    def __init__(self, types: Iterable[str] = DEFAULT_TYPES, *, min_score: float = DEFAULT_MIN_SCORE) -> None:
        self.types = tuple(dict.fromkeys(types))
        self.min_score = min_score
        unknown = [type_ for type_ in self.types if type_ not in DEFAULT_TYPES]
        if unknown or not self.types:
            given = ", ".join(unknown) or "none"
            raise BadInput(f"cannot detect these types: {given}; choose from {', '.join(DEFAULT_TYPES)}")

    def find(self, text: str) -> list[Finding]:
        """Findings in order of their place; one that lies within a longer one of no lower score is left out."""
        if not _CAN_HOLD.search(text):
            return []
        results = self._engine.analyze(text, language="en", entities=list(self.types), score_threshold=self.min_score)
        found = {Finding(start=r.start, end=r.end, type=r.entity_type, score=float(r.score)) for r in results}
        return _without_parts(found)

    @cached_property
    def _engine(self) -> Any:
        return _build_engine(self.types)


def _without_parts(findings: Iterable[Finding]) -> list[Finding]:
    """An e-mail address holds a domain that reads as a URL: keep the whole."""
    kept: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (f.start, -f.end, -f.score, f.type)):
        if not any(_is_part(finding, whole) for whole in kept):
            kept.append(finding)
    return kept


def _is_part(part: Finding, whole: Finding) -> bool:
    within = whole.start <= part.start and part.end <= whole.end
    return within and part.end - part.start < whole.end - whole.start and part.score <= whole.score


def _build_engine(types: tuple[str, ...]) -> Any:
    _quiet()
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    nlp_engine = SpacyNlpEngine()
    nlp_engine.nlp = {"en": _blank_pipeline()}
    registry = RecognizerRegistry(_recognisers(types), supported_languages=["en"])
    return AnalyzerEngine(registry=registry, nlp_engine=nlp_engine, supported_languages=["en"])


def _recognisers(types: tuple[str, ...]) -> list[Any]:
    from presidio_analyzer import predefined_recognizers as presidio
    from tldextract import TLDExtract

    extract = TLDExtract(suffix_list_urls=(), cache_dir=None)
    email = presidio.EmailRecognizer()
    # Presidio's own check calls a shared extractor, which downloads the public-suffix list at the first address.
    email.validate_result = lambda address: extract(address).fqdn != ""
    by_type = {
        "EMAIL_ADDRESS": email,
        "US_SSN": presidio.UsSsnRecognizer(),
        "PHONE_NUMBER": presidio.PhoneRecognizer(),
        "URL": presidio.UrlRecognizer(),
        "CREDIT_CARD": presidio.CreditCardRecognizer(),
        "IBAN_CODE": presidio.IbanRecognizer(),
        "IP_ADDRESS": presidio.IpRecognizer(),
    }
    return [by_type[type_] for type_ in types]


def _blank_pipeline() -> Any:
    import spacy
    from spacy.language import Language

    if not Language.has_factory(_PIPE):
        Language.component(_PIPE, func=_lowercase_lemmas)
    pipeline = spacy.blank("en")
    pipeline.add_pipe(_PIPE)
    return pipeline


def _lowercase_lemmas(doc: Any) -> Any:
    for token in doc:
        token.lemma_ = token.lower_
    return doc


def _quiet() -> None:
    """Drop every record of the loggers that quote the text they read, at any level.

    A filter, because a level or `disabled` is undone by a later `logging.config` (Prefect applies one).
    """
    for name in _LOGGERS_THAT_QUOTE_TEXT:
        logging.getLogger(name).addFilter(_drop)


def _drop(_record: logging.LogRecord) -> bool:
    return False
