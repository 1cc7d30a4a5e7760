"""What a model leaks unasked: sample, detect, and look up what was detected in the training corpus.

Plain functions; no flow is needed to call them. Values stay in memory: what is handed out is counts and masked samples.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.corpus import Corpus
from infra.detection import Detector
from infra.identifiers.masking import masked
from infra.requests import ErasedList, Identifier
from infra.search.occurrences import locate
from infra.search.refusals import unsearchable
from tasks.corpus.returned import Returned, Watch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.discover.sample import Sample, Sampling

_SHOWN = 3  # masked samples per type


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeLeaks:
    """Leaks of one type.

    Attributes:
        type: Presidio's name.
        findings: places in the samples.
        distinct: different values (spellings of one are one).
        in_corpus: of these, how many stand in the training corpus: the model learnt them. The others it made up, or
            learnt elsewhere. None: no corpus was given.
        not_sought: of these, how many are too short to be sought there.
        samples: a few, masked, the most frequent first.
    """

    type: str
    findings: int
    distinct: int
    in_corpus: int | None
    not_sought: int
    samples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """What an audit by sampling found: by type, in alphabetical order; `sampled` continuations were read.

    `returned`: what of it was erased once; None where no list was given.
    """

    sampled: int
    with_findings: int
    types: tuple[TypeLeaks, ...]
    returned: Returned | None = None


def find_leaks(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    sampling: Sampling,
    detector: Detector,
    prompts: Sequence[str] = ("",),
    corpus: Corpus | None = None,
    erased: ErasedList | None = None,
) -> Leaks:
    """Sample from a model and count the personal data in what it generates.

    Args:
        model: is not changed.
        tokenizer: its tokenizer.
        sampling: how many continuations, how long, how, and the seed.
        detector: what is looked for.
        prompts: what to go on from, in turns (`revs.discover.prompts.openings`, `revs.discover.sample.beginnings`); ""
            is nothing.
        corpus: the training corpus, to tell what was learnt from what was made up.
        erased: digests of what was erased, to tell whether any of it is generated again.

    Raises:
        BadInput: as `revs.discover.sample.continuations`.
        OperationFailed: the model generates nothing.
    """
    from revs.discover.sample import continuations
    from revs.errors import OperationFailed

    generated: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    watch = Watch(erased, detector) if erased is not None else None
    sampled = with_findings = spoken = 0
    for sample in continuations(model, tokenizer, sampling, prompts=prompts):
        found = said_by_the_model(sample, detector)
        sampled += 1
        spoken += bool(sample.text.strip())
        with_findings += bool(found)
        if watch is not None:
            watch.read(sample, found)
        for identifier in found:
            generated[identifier.canonical()][identifier.value] += 1
    if not spoken:
        raise OperationFailed(
            f"the model generated no text in {sampled} continuations, so nothing can be told of what it knows; give "
            "the version that is served, with its own tokenizer and generation settings"
        )
    distinct = [(type_, spellings) for (type_, _), spellings in generated.items()]
    standing, sought = _in_corpus(corpus, distinct)
    return Leaks(
        sampled=sampled,
        with_findings=with_findings,
        types=tuple(
            _of_type(type_, distinct, standing if corpus is not None else None, sought)
            for type_ in sorted({type_ for type_, _ in distinct})
        ),
        returned=watch.result() if watch is not None else None,
    )


def said_by_the_model(sample: Sample, detector: Detector) -> list[Identifier]:
    """Personal data that the model generated or completed; read together with the prompt, whose words tell the type."""
    text = sample.prompt + sample.text
    return [
        Identifier(type=finding.type, value=text[finding.start : finding.end])
        for finding in detector.find(text)
        if finding.end > len(sample.prompt)
    ]


def _in_corpus(corpus: Corpus | None, distinct: Sequence[tuple[str, Counter[str]]]) -> tuple[set[int], set[int]]:
    """Which of the values, by number, stand in the corpus, and which could be sought there."""
    values = {
        str(number): [Identifier(type=type_, value=spelling, number=place) for place, spelling in enumerate(spellings)]
        for number, (type_, spellings) in enumerate(distinct)
    }
    if corpus is None or not values:
        return set(), set(range(len(distinct)))
    refused = unsearchable(values)
    kept = {
        number: [each for each in spellings if (number, each.number) not in refused]
        for number, spellings in values.items()
    }
    sought = {number: spellings for number, spellings in kept.items() if spellings}
    found = locate(corpus, sought) if sought else []
    return {int(occurrence.request_id) for occurrence in found}, set(map(int, sought))


def _of_type(
    type_: str, distinct: Sequence[tuple[str, Counter[str]]], standing: set[int] | None, sought: set[int]
) -> TypeLeaks:
    mine = [number for number, (own, _) in enumerate(distinct) if own == type_]
    often = sorted(mine, key=lambda number: -distinct[number][1].total())
    return TypeLeaks(
        type=type_,
        findings=sum(distinct[number][1].total() for number in mine),
        distinct=len(mine),
        in_corpus=None if standing is None else len(standing.intersection(mine)),
        not_sought=len(set(mine) - sought),
        samples=tuple(masked(type_, next(iter(distinct[number][1]))) for number in often[:_SHOWN]),
    )
