"""Presidio's own engine on whole texts, with our recognisers: what `Detector.find` is compared with; no tests here.

No spaCy model is needed, because no type here comes from named-entity recognition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import spacy
from presidio_analyzer import (
    AnalysisExplanation,
    AnalyzerEngine,
    LocalRecognizer,
    RecognizerRegistry,
    RecognizerResult,
)
from presidio_analyzer.context_aware_enhancers import ContextAwareEnhancer
from presidio_analyzer.nlp_engine import SpacyNlpEngine
from spacy.language import Language

from infra.detection.context import USUAL, adjusted
from infra.detection.context import Labels as Known
from infra.detection.recogniser import Recogniser


def presidio_engine(using: Sequence[Recogniser], known: Known = USUAL) -> Any:
    """Presidio's `AnalyzerEngine` with these recognisers and this weighing of labels, offline, on a blank pipeline."""
    theirs = [recogniser.presidio or Deciding(recogniser) for recogniser in using]
    return AnalyzerEngine(
        registry=RecognizerRegistry(theirs, supported_languages=["en"]),
        nlp_engine=blank_nlp_engine(),
        supported_languages=["en"],
        context_aware_enhancer=Labels({their.id: ours for their, ours in zip(theirs, using, strict=True)}, known),
    )


class Deciding(LocalRecognizer):
    """A Presidio recogniser that gives what one of ours decides."""

    def __init__(self, ours: Recogniser) -> None:
        super().__init__(supported_entities=[ours.type])
        self.ours = ours

    def load(self) -> None:
        return None

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[Any]:
        known_as = {
            RecognizerResult.RECOGNIZER_NAME_KEY: self.name,
            RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: self.id,
        }
        return [
            RecognizerResult(self.ours.type, start, end, score, AnalysisExplanation(self.name, score), dict(known_as))
            for start, end, score in self.ours.spans(text)
        ]


class Labels(ContextAwareEnhancer):
    """Weighs labels as `Detector` does."""

    def __init__(self, by_id: dict[str, Recogniser], known: Known) -> None:
        super().__init__(0.0, 0.0, 0, 0)
        self.by_id, self.known = by_id, known

    def enhance_using_context(
        self, text: str, raw_results: list[Any], nlp_artifacts: Any, recognizers: list[Any], context: Any = None
    ) -> list[Any]:
        for result in raw_results:
            ours = self.by_id[result.recognition_metadata[RecognizerResult.RECOGNIZER_IDENTIFIER_KEY]]
            score = float(result.score)
            result.score = adjusted(text, result.start, ours.type, score, self.known) if ours.labelled else score
        return raw_results


@Language.component("revs_lowercase_lemmas")
def _lowercase_lemmas(doc: Any) -> Any:
    for token in doc:
        token.lemma_ = token.lower_
    return doc


def blank_nlp_engine() -> Any:
    """Presidio's NLP engine without a model: words are split, and in lower case stand for lemmas."""
    pipeline = spacy.blank("en")
    pipeline.add_pipe("revs_lowercase_lemmas")
    engine = SpacyNlpEngine()
    engine.nlp = {"en": pipeline}
    return engine
