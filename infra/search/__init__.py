"""Known identifiers in many texts: what is sought is built once, and batches of texts are searched for all of it.

A text is folded (infra/identifiers/normalise.py) into two streams: the words, and the words without the separators of
numbers. What is found there counts where it stands alone (infra/identifiers/boundaries.py), and is given in offsets of
the original text. A text with escapes or broken lines is also read without them (infra/identifiers/readings.py).
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from infra.identifiers import boundaries, phones
from infra.identifiers.ip import suffix_end
from infra.identifiers.normalise import Stream, compact, fold, reduced, same_case, search_forms, stream_of
from infra.identifiers.readings import Steps, may_be_disguised, readings, span_of, undisguised
from infra.search.addresses import Addresses
from infra.search.batch import Batch, Place
from infra.search.beside import beside, may_matter
from infra.search.disguises import Neighbours, disguised
from infra.search.folding import odd
from infra.search.patterns import Patterns
from infra.search.refusals import MIN_CHARACTERS, Key, refuse, unsearchable
from infra.search.rows import Rows, of_array, of_texts
from infra.search.streams import STREAMS, Streams

if TYPE_CHECKING:
    from infra.requests import Identifier

BATCH_CHARACTERS = 1 << 19
"""Characters, or bytes, that are folded together: few enough for the processor's caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An identifier of a request at `text[start:end]`; `identifier` is its number in the request."""

    request_id: str
    identifier: int
    type: str
    start: int
    end: int


class _Further(NamedTuple):
    """Another reading of the text of `row`."""

    row: int
    text: str
    steps: Steps


_OPENINGS = (b"https://", b"http://", b"www.", b"://www.")
"""With what a URL may begin in a text; its form is sought without."""

_Match = tuple[int, int, int, int]
"""The number of a text, start, end, and the number of the identifier among all."""


class Search:
    """Finds the identifiers of many requests in texts, without taking longer for more of them.

    Args:
        identifiers: by request id; they are looked at again when something is found, and must not change.
        leave_out: of these, the ones that are not sought, by request id and number.

    Raises:
        BadInput: an identifier has fewer than `MIN_CHARACTERS` normalised characters; the message lists the requests.
    """

    def __init__(self, identifiers: Mapping[str, Sequence[Identifier]], *, leave_out: Collection[Key] = ()) -> None:
        refuse({key: reason for key, reason in unsearchable(identifiers).items() if key not in leave_out})
        odd()  # takes a while, which the first batch need not wait for
        self._requests = list(identifiers)
        self._identifiers = identifiers
        self._request_of, self._index_of = array("i"), array("i")
        self._addresses = Addresses()
        owners: dict[Stream, array[int]] = {stream: array("i") for stream in STREAMS}
        forms: dict[Stream, list[bytes]] = {stream: [] for stream in STREAMS}
        for request, (request_id, wanted) in enumerate(identifiers.items()):
            for index, identifier in enumerate(wanted):
                stream = stream_of(identifier.type)
                left_out = (request_id, identifier.number) in leave_out
                if not left_out:
                    self._addresses.add(len(self._index_of), identifier)
                for form in () if left_out else forms_of(identifier):
                    forms[stream].append(form.encode("utf-8", "surrogatepass"))
                    owners[stream].append(len(self._index_of))
                self._request_of.append(request)
                self._index_of.append(index)
        self._owners = owners
        self._neighbours = Neighbours([*_OPENINGS, *(form for some in forms.values() for form in some)])
        patterns = {stream: Patterns(forms.pop(stream)) for stream in STREAMS if forms[stream]}
        self._streams = Streams(patterns)

    def __repr__(self) -> str:
        return f"Search(requests={len(self._requests)}, identifiers={len(self._index_of)})"

    def in_texts(self, texts: Sequence[str]) -> Iterator[tuple[int, Found]]:
        """Every place where an identifier stands: the number of the text and the place, by text, start and end.

        Of several spellings of one identifier at one place the longest is given. How the texts are split over calls
        does not matter.
        """
        return self._in_portions(of_texts(texts, BATCH_CHARACTERS))

    def in_array(self, array: Any) -> Iterator[tuple[int, Found]]:
        """The same of a pyarrow array of strings, in which null is an empty text; faster."""
        return self._in_portions(of_array(array, BATCH_CHARACTERS))

    def _in_portions(self, portions: Iterable[tuple[int, Rows]]) -> Iterator[tuple[int, Found]]:
        for first, rows in portions if self._requests else ():
            matches: dict[int, list[_Match]] = {}
            for match in self._in_rows(rows):
                matches.setdefault(match[0], []).append(match)
            for number in sorted(matches):
                yield from ((first + number, found) for found in self._in_row(matches[number]))

    def _in_rows(self, rows: Rows) -> Iterator[_Match]:
        numbers = disguised(rows, self._neighbours)
        further = [_Further(n, text, steps) for n in numbers for text, steps in readings(rows.text(n))]
        batch = Batch(rows.and_also([reading.text for reading in further]) if further else rows)
        for (number, start, end), owner in self._in_batch(batch):
            if number < len(rows):
                yield number, start, end, owner
            elif span := span_of(further[number - len(rows)].steps, start, end):
                yield further[number - len(rows)].row, *span, owner

    def _in_batch(self, batch: Batch) -> Iterator[tuple[Place, int]]:
        for stream, hits in self._streams.find(batch):
            owners = self._owners[stream]
            for pattern, start, end in hits.tolist():
                place = self._checked(batch, stream, owners[pattern], start, end)
                if place is not None:
                    yield place, owners[pattern]
        yield from self._addresses.find(batch)

    def _checked(self, batch: Batch, stream: Stream, owner: int, start: int, end: int) -> Place | None:
        """Where `batch.words[start:end]` came from, or None: a part of something longer, or written otherwise."""
        identifier = self._identifier(owner)
        text, first, last = batch.around(start, end)
        opening = boundaries.with_opening(text, first, last, identifier.type)
        if not boundaries.stands_alone(text, opening, last, identifier.type):
            return None
        form = text[first:last] if stream == "words" else compact(text[first:last])
        normal = reduced(identifier.type, text[opening:last])
        if normal != form and normal not in forms_of(identifier):
            return None
        ending = _with_ending(text, last, identifier)
        if ending is None or _is_of_another_country(identifier, text, opening, form):
            return None
        origin = batch.origin(start - (first - opening), end + len(text[last:ending].encode("utf-8", "surrogatepass")))
        if origin is None or not _case_allows(identifier, origin[1]):
            return None
        if may_matter(text, opening, ending, identifier.type) and _goes_on(batch, origin[0], identifier, form):
            return None
        return origin[0]

    def _in_row(self, matches: Iterable[_Match]) -> list[Found]:
        found = [
            Found(
                request_id=self._requests[self._request_of[owner]],
                identifier=self._identifier(owner).number,
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


def _with_ending(text: str, end: int, identifier: Identifier) -> int | None:
    """The end with what belongs to the place: the extension of a phone number where the identifier has it, too.

    None where it is another one: that number is somebody else's.
    """
    if identifier.type == "IP_ADDRESS":
        return suffix_end(text, end)
    found = phones.EXTENSION.match(text, end) if identifier.type == "PHONE_NUMBER" else None
    wanted = phones.parted(fold(identifier.value).text)[1] if found else ""
    if found is None or not wanted:
        return end
    return found.end() if found[1] == wanted else None


def _is_of_another_country(identifier: Identifier, text: str, start: int, form: str) -> bool:
    """Whether a country code stands in front of the digits of a number that it does not belong to."""
    if identifier.type != "PHONE_NUMBER" or text[start] == "+":
        return False
    code, tied = phones.country_code(text, start)
    forms = forms_of(identifier) if code else ()
    return (len(forms) > 1 or tied) and code + form not in forms


def _goes_on(batch: Batch, place: Place, identifier: Identifier, form: str) -> bool:
    """Whether the identifier is a part of something longer, or of another country, once escapes beside it are read."""
    number, start, end = place
    near = beside(batch.row(number), start, end)
    if near is None:
        return False
    text, first, last = near
    if not boundaries.stands_alone(text, first, last, identifier.type):
        return True
    return _with_ending(text, last, identifier) is None or _is_of_another_country(identifier, text, first, form)


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
