"""The recognisers in one list, run on their windows; and the same recognisers in Presidio's own engine, on whole texts.

No spaCy model is needed, because no type here comes from named-entity recognition. The second way exists to be compared
with: `Detector.find` gives the findings of `AnalyzerEngine.analyze`, without tokenising and without reading what no
recogniser could care about.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from infra.detection import card, custom, email, iban, ip, phone, ssn, url
from infra.detection.context import adjusted
from infra.detection.recogniser import Recogniser

BUILDERS: dict[str, Callable[[], Recogniser]] = {
    "EMAIL_ADDRESS": email.build,
    "US_SSN": ssn.build,
    "PHONE_NUMBER": phone.build,
    "URL": url.build,
    "CREDIT_CARD": card.build,
    "IBAN_CODE": iban.build,
    "IP_ADDRESS": ip.build,
}
_LOGGERS_THAT_QUOTE_TEXT = ("presidio-analyzer", "decision_process", "tldextract")
Found = tuple[int, int, str, float]


def recognisers(types: Iterable[str], stated: Iterable[custom.CustomRecogniser] = ()) -> list[Recogniser]:
    """A recogniser for each type, a name in `BUILDERS`, and each stated one; from here on no logger quotes texts."""
    _quiet()
    return [*(BUILDERS[type_]() for type_ in types), *map(custom.build, stated)]


def decide(text: str, using: Sequence[Recogniser], min_score: float) -> Iterator[Found]:
    """Start, end, type and score of what the recognisers find, with at least `min_score`, in no order."""
    for recogniser in using:
        for window in recogniser.windows(text):
            for first, last, raw in recogniser.spans(text[window.start : window.end]):
                start, end = window.start + first, window.start + last
                if window.first <= start and end <= window.last:
                    score = _final(recogniser, text, start, raw)
                    if score >= min_score:
                        yield start, end, recogniser.type, score


def presidio_engine(using: Sequence[Recogniser]) -> Any:
    """Presidio's `AnalyzerEngine` with these recognisers and this weighing of labels, offline, on a blank pipeline."""
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry

    registry = RecognizerRegistry([recogniser.presidio for recogniser in using], supported_languages=["en"])
    return AnalyzerEngine(
        registry=registry,
        nlp_engine=blank_nlp_engine(),
        supported_languages=["en"],
        context_aware_enhancer=_enhancer(using),
    )


def blank_nlp_engine() -> Any:
    """Presidio's NLP engine without a model: words are split, and in lower case stand for lemmas."""
    import spacy
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from spacy.language import Language

    name = "revs_lowercase_lemmas"
    if not Language.has_factory(name):
        Language.component(name, func=_lowercase_lemmas)
    pipeline = spacy.blank("en")
    pipeline.add_pipe(name)
    engine = SpacyNlpEngine()
    engine.nlp = {"en": pipeline}
    return engine


def _final(recogniser: Recogniser, text: str, start: int, score: float) -> float:
    return adjusted(text, start, recogniser.type, float(score)) if recogniser.labelled else float(score)


def _enhancer(using: Sequence[Recogniser]) -> Any:
    from presidio_analyzer import RecognizerResult
    from presidio_analyzer.context_aware_enhancers import ContextAwareEnhancer

    by_id = {recogniser.presidio.id: recogniser for recogniser in using}

    class Labels(ContextAwareEnhancer):  # type: ignore[misc]
        def enhance_using_context(
            self, text: str, raw_results: list[Any], nlp_artifacts: Any, recognizers: list[Any], context: Any = None
        ) -> list[Any]:
            for result in raw_results:
                recogniser = by_id[result.recognition_metadata[RecognizerResult.RECOGNIZER_IDENTIFIER_KEY]]
                result.score = _final(recogniser, text, result.start, result.score)
            return raw_results

    return Labels(0.0, 0.0, 0, 0)


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
