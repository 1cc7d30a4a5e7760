"""Known identifiers in many texts: what is sought is built once, and batches of texts are searched for all of it.

A text is folded (infra/normalise.py) into two streams: the words, and the words without the separators of numbers.
What is found there counts where it stands alone (infra/boundaries.py), and is given in offsets of the original text.
A text with escapes or broken lines is also read without them (infra/search/disguises.py).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from infra import boundaries
from infra.normalise import Stream, compact, reduced, same_case, search_forms, stream_of
from infra.search.batch import Batch, Place, batches
from infra.search.disguises import Reading, disguised, may_be_disguised, readings, undisguised
from infra.search.patterns import Patterns
from infra.search.refusals import MIN_CHARACTERS, refuse, unsearchable
from infra.search.streams import STREAMS, Classes, StreamSearch

if TYPE_CHECKING:
    from infra.requests import Identifier

BATCH_CHARACTERS = 1 << 19
"""Characters that are folded together: few enough for the processor's caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An identifier of a request at `text[start:end]`; `identifier` is its index in the request, from 0."""

    request_id: str
    identifier: int
    type: str
    start: int
    end: int


class _Further(NamedTuple):
    """Another reading of the text of `row`."""

    row: int
    text: str
    steps: tuple[Reading, ...]

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        span: tuple[int, int] | None = (start, end)
        for step in reversed(self.steps):
            if span is not None:
                span = step.span(*span)
        return span


_Match = tuple[int, int, int, int]
"""The number of a text, start, end, and the number of the identifier among all."""


class Search:
    """Finds the identifiers of many requests in texts, without taking longer for more of them.

    Args:
        identifiers: by request id; they are looked at again when something is found, and must not change.

    Raises:
        BadInput: an identifier has fewer than `MIN_CHARACTERS` normalised characters; the message lists the requests.
    """

    def __init__(self, identifiers: Mapping[str, Sequence[Identifier]]) -> None:
        refuse(unsearchable(identifiers))
        self._requests = list(identifiers)
        self._identifiers = identifiers
        self._request_of, self._index_of = array("i"), array("i")
        owners: dict[Stream, array[int]] = {stream: array("i") for stream in STREAMS}
        forms: dict[Stream, list[bytes]] = {stream: [] for stream in STREAMS}
        for request, wanted in enumerate(identifiers.values()):
            for index, identifier in enumerate(wanted):
                stream = stream_of(identifier.type)
                for form in forms_of(identifier):
                    forms[stream].append(form.encode("utf-8", "surrogatepass"))
                    owners[stream].append(len(self._index_of))
                self._request_of.append(request)
                self._index_of.append(index)
        self._owners = owners
        patterns = {stream: Patterns(forms.pop(stream)) for stream in STREAMS if forms[stream]}
        self._classes = Classes(patterns)
        self._streams = {stream: StreamSearch(stream, sought) for stream, sought in patterns.items()}

    def __repr__(self) -> str:
        return f"Search(requests={len(self._requests)}, identifiers={len(self._index_of)})"

    def in_texts(self, texts: Sequence[str]) -> Iterator[tuple[int, Found]]:
        """Every place where an identifier stands: the number of the text and the place, by text, start and end.

        Of several spellings of one identifier at one place the longest is given. How the texts are split over calls
        does not matter.
        """
        for rows in _portions(texts) if self._streams else ():
            matches: dict[int, list[_Match]] = {}
            for match in self._in_portion([texts[row] for row in rows]):
                matches.setdefault(match[0], []).append(match)
            for number in sorted(matches):
                yield from ((rows[number], found) for found in self._in_row(matches[number]))

    def _in_portion(self, texts: Sequence[str]) -> Iterator[_Match]:
        further = [_Further(n, text, steps) for n in disguised(texts) for text, steps in readings(texts[n])]
        for numbers, batch in batches([*texts, *(reading.text for reading in further)]):
            for place, start, end, owner in self._in_batch(batch):
                number = numbers[place]
                if number < len(texts):
                    yield number, start, end, owner
                elif span := further[number - len(texts)].span(start, end):
                    yield further[number - len(texts)].row, *span, owner

    def _in_batch(self, batch: Batch) -> Iterator[_Match]:
        classes = self._classes.of(batch)
        for stream, search in self._streams.items():
            owners = self._owners[stream]
            for pattern, start, end in search.find(batch, classes[stream]).tolist():
                place = self._checked(batch, owners[pattern], start, end)
                if place is not None:
                    yield *place, owners[pattern]

    def _checked(self, batch: Batch, owner: int, start: int, end: int) -> Place | None:
        """Where `batch.text[start:end]` came from, or None: a part of something longer, or written otherwise."""
        identifier = self._identifier(owner)
        form = batch.text[start:end] if stream_of(identifier.type) == "words" else compact(batch.text[start:end])
        start = boundaries.with_opening(batch.text, start, end, identifier.type)
        if not boundaries.stands_alone(batch.text, start, end, identifier.type):
            return None
        normal = reduced(identifier.type, batch.text[start:end])
        if normal != form and normal not in forms_of(identifier):
            return None
        place = batch.span(start, end)
        if place is None or not _case_allows(identifier, batch.texts[place[0]][place[1] : place[2]]):
            return None
        return place

    def _in_row(self, matches: Iterable[_Match]) -> list[Found]:
        found = [
            Found(
                request_id=self._requests[self._request_of[owner]],
                identifier=self._index_of[owner],
                type=self._identifier(owner).type,
                start=start,
                end=end,
            )
            for _, start, end, owner in _longest(matches)
        ]
        return sorted(found, key=lambda f: (f.start, f.end, f.request_id, f.identifier))

    def _identifier(self, owner: int) -> Identifier:
        return self._identifiers[self._requests[self._request_of[owner]]][self._index_of[owner]]


def forms_of(identifier: Identifier) -> tuple[str, ...]:
    """Every form under which the identifier is sought; one that is itself written with escapes also without them."""
    forms = search_forms(identifier.type, identifier.value)
    if may_be_disguised(identifier.value):
        forms += search_forms(identifier.type, undisguised(identifier.value))
    return tuple(form for form in dict.fromkeys(forms) if len(form) >= MIN_CHARACTERS)


def _portions(texts: Sequence[str]) -> Iterator[range]:
    """The numbers of the texts, in portions of `BATCH_CHARACTERS` or of one text."""
    first, size = 0, 0
    for number, text in enumerate(texts):
        if size + len(text) > BATCH_CHARACTERS and number > first:
            yield range(first, number)
            first, size = number, 0
        size += len(text)
    if first < len(texts):
        yield range(first, len(texts))


def _case_allows(identifier: Identifier, written: str) -> bool:
    type_, value = identifier.type, identifier.value
    if same_case(type_, value, written):
        return True
    return may_be_disguised(value) and same_case(type_, undisguised(value), written)


def _longest(matches: Iterable[_Match]) -> Iterator[_Match]:
    """Of overlapping matches of one identifier the first, and of those the longest."""
    ends: dict[int, int] = {}
    for match in sorted(matches, key=lambda m: (m[1], -m[2])):
        _, start, end, owner = match
        if start >= ends.get(owner, 0):
            ends[owner] = end
            yield match
