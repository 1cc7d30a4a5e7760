"""Names and addresses by a language model, through Presidio's own engines for spaCy, transformers and GLiNER.

The model has to lie on this machine: nothing is downloaded, a missing one is refused in one line. A text is read in
pieces that the model can hold, so that none of it is cut off unread; where the model fails the text counts as unread.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from infra.detection.config import NerConfig
from infra.detection.findings import Stopped
from infra.detection.recogniser import Recogniser, Spans
from infra.detection.windows import whole
from revs.errors import BadInput

PIECE, OVERLAP = 20_000, 400
"""Characters of a piece that spaCy reads, and of what it sees beside."""
_GLINER_LABELS = {
    "PERSON": ("person",),
    "LOCATION": ("address", "location"),
    "ORGANIZATION": ("organization",),
    "NRP": ("nationality", "religion", "political group"),
    "DATE_TIME": ("date", "time"),
}
Entity = tuple[str, int, int, float]
Reader = Callable[[str], list[Entity]]


def build(config: NerConfig) -> list[Recogniser]:
    """A recogniser for each type; the model reads a text once for all of them.

    Raises:
        BadInput: the package or the model is not on this machine, or the model cannot be loaded.
    """
    read = lru_cache(maxsize=1)(_BUILDERS[config.engine](config))
    name = f"{config.engine} {Path(config.model).name}"
    return [
        Recogniser(
            type=type_,
            name=name,
            spans=partial(_of_type, read, type_, config.min_score),
            windows=whole,
            labelled=False,
        )
        for type_ in config.types
    ]


def _of_type(read: Reader, type_: str, least: float, text: str) -> Spans:
    try:
        entities = read(text)
    except Exception as error:  # the library's messages quote the text
        raise Stopped(f"failed ({type(error).__name__})", f"on a text of {len(text)} characters") from None
    return [(start, end, score) for kind, start, end, score in entities if kind == type_ and score >= least]


def _spacy(config: NerConfig) -> Reader:
    import spacy
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    if not (spacy.util.is_package(config.model) or Path(config.model).is_dir()):
        raise BadInput(f"ner: spaCy model {config.model!r} is not installed; install its package or name its folder")
    language = config.language
    models = [{"lang_code": language, "model_name": config.model}]
    engine = SpacyNlpEngine(models=models, ner_model_configuration=NerModelConfiguration())
    _loaded(config, engine.load)
    recogniser = SpacyRecognizer(supported_language=language, supported_entities=list(config.types))

    def entities(text: str) -> Iterator[Entity]:
        artifacts = engine.process_text(text, language)
        yield from map(_entity, recogniser.analyze(text, list(config.types), artifacts))

    return partial(_in_pieces, entities)


def _transformers(config: NerConfig) -> Reader:
    from presidio_analyzer.chunkers import TokenizerBasedTextChunker
    from presidio_analyzer.predefined_recognizers.ner import HuggingFaceNerRecognizer

    folder = _on_this_machine(config)
    recogniser = _loaded(
        config,
        lambda: HuggingFaceNerRecognizer(
            supported_entities=list(config.types),
            supported_language=config.language,
            model_name=folder,
            threshold=config.min_score,
            text_chunker=TokenizerBasedTextChunker(),
        ),
    )
    pipeline, failures = recogniser.ner_pipeline, list[str]()

    def watched(text: str) -> Any:
        try:
            return pipeline(text)
        except Exception as error:  # the recogniser would take it for "nothing found"
            failures.append(type(error).__name__)
            raise

    recogniser.ner_pipeline = watched

    def read(text: str) -> list[Entity]:
        failures.clear()
        found = [_entity(result) for result in recogniser.analyze(text, list(config.types))]
        if failures:
            raise RuntimeError(failures[0])
        return found

    return read


def _gliner(config: NerConfig) -> Reader:
    if importlib.util.find_spec("gliner") is None:
        raise BadInput("ner: the package gliner is not installed; install it (pip install gliner)")
    from presidio_analyzer.predefined_recognizers.ner import GLiNERRecognizer

    folder = _on_this_machine(config)
    labels = {label: type_ for type_ in config.types for label in _GLINER_LABELS[type_]}
    recogniser = _loaded(
        config,
        lambda: GLiNERRecognizer(
            entity_mapping=labels,
            supported_language=config.language,
            model_name=folder,
            threshold=config.min_score,
        ),
    )
    return lambda text: [_entity(result) for result in recogniser.analyze(text, list(config.types))]


_BUILDERS: dict[str, Callable[[NerConfig], Reader]] = {
    "spacy": _spacy,
    "transformers": _transformers,
    "gliner": _gliner,
}


def _on_this_machine(config: NerConfig) -> str:
    """The folder of the model: a path, or what the hub's cache holds under that id."""
    if Path(config.model).is_dir():
        return config.model
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(config.model, local_files_only=True))
    except (OSError, ValueError):  # a missing one, and a text that can be no id
        raise BadInput(
            f"ner: model {config.model!r} is neither a folder nor in the Hugging Face cache of this machine; "
            "download it first, nothing is downloaded here"
        ) from None


def _loaded(config: NerConfig, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:
        raise BadInput(
            f"ner: model {config.model!r} cannot be loaded as {config.engine} ({type(error).__name__}); check the model"
        ) from None


def _entity(result: Any) -> Entity:
    return result.entity_type, result.start, result.end, float(result.score)


def _in_pieces(entities: Callable[[str], Iterator[Entity]], text: str) -> list[Entity]:
    """Entities of pieces that overlap; each belongs to the piece in which it begins before the overlap at its end."""
    found = []
    for first in range(0, max(1, len(text)), PIECE):
        start = max(0, first - OVERLAP)
        for kind, from_, to, score in entities(text[start : first + PIECE + OVERLAP]):
            if first <= start + from_ < first + PIECE:
                found.append((kind, start + from_, start + to, score))
    return found
