"""Whether a model, or a corpus, holds again what was erased, asked of keyed digests: counts and days, never a value.

A digest can only be compared with whole candidates. Most types have a shape by which a detector finds them in a text.
Names and a customer's own strings have none, so of them every run of a few words that the model generated is asked.
"""

from __future__ import annotations

import re
import string
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from infra.detection import Detector
from infra.requests import ErasedDigest, ErasedList, Identifier

if TYPE_CHECKING:
    from revs.discover.sample import Sample

CONFIDENCE = 0.95
LONGEST = 6
"""Words of a name or an own string that is found by its words alone."""
SHAPELESS = frozenset({"PERSON", "CUSTOM"})
_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeReturned:
    """Erased identifiers of one type.

    Attributes:
        type: Presidio's name.
        erased: how many are on the list.
        generated: how many of them the model generated.
        continuations: in how many of the samples.
        erased_on: the days on which those that were generated had been erased, each once.
        sought: whether the detector looks for this type; else that none was generated tells nothing.
    """

    type: str
    erased: int
    generated: int
    continuations: int
    erased_on: tuple[date, ...]
    sought: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """What of a list of erased identifiers a model generated in samples, or a corpus holds, whose rows are the samples.

    Attributes:
        continuations: in how many of the samples any was.
        at_most: the share of such continuations that may hold any, with 95 % confidence (Clopper and Pearson 1934).
        not_listed: completed requests of which no digest was kept, so that nothing is known of theirs.
        types: by type, in alphabetical order.
    """

    continuations: int
    at_most: float
    not_listed: int
    types: tuple[TypeReturned, ...]

    @property
    def erased(self) -> int:
        """How many identifiers are on the list."""
        return sum(each.erased for each in self.types)

    @property
    def generated(self) -> int:
        """How many of them the model generated."""
        return sum(each.generated for each in self.types)


class Watch:
    """Reads samples as they come and remembers which digests of a list were met, and how often."""

    def __init__(self, erased: ErasedList, detector: Detector) -> None:
        """Watch for what is on the list."""
        self._erased = erased
        self._sought = frozenset(detector.config.types) | SHAPELESS
        self._met: dict[ErasedDigest, int] = {}
        self._with: dict[str, int] = defaultdict(int)
        self._read = self._holding = 0

    def read(self, sample: Sample, found: Iterable[Identifier]) -> set[str]:
        """Ask for everything in one text: what a detector found in it, and its words; return the types of what is met.

        A row of a corpus is a sample that goes on from nothing.
        """
        met = {entry for identifier in found for entry in self._erased.find(identifier.value)}
        if shapeless := SHAPELESS & self._erased.by_type.keys():
            for words in wordings(sample):
                # A name that is made of words of the language is none in small letters: "hope rose".
                met.update(self._erased.find(words, shapeless - {"PERSON"} if words.islower() else shapeless))
        self._read += 1
        self._holding += bool(met)
        for entry in met:
            self._met[entry] = self._met.get(entry, 0) + 1
        types = {entry.type for entry in met}
        for type_ in types:
            self._with[type_] += 1
        return types

    def knows(self, value: str) -> bool:
        """Whether a value that a detector found is on the list."""
        return bool(self._erased.find(value))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON, for `merge`: digests and counts."""
        met = [[entry.digest, entry.model, count] for entry, count in self._met.items()]
        return {"read": self._read, "holding": self._holding, "with": dict(self._with), "met": sorted(met)}

    def merge(self, stored: Mapping[str, Any]) -> None:
        """Add what another watch for the same list met, as `to_dict` gave it."""
        known = {(entry.digest, entry.model): entry for entry in self._erased.entries}
        self._read += stored["read"]
        self._holding += stored["holding"]
        for type_, count in stored["with"].items():
            self._with[type_] += count
        for digest, model, count in stored["met"]:
            if (digest, model) in known:  # else it was dropped meanwhile
                self._met[known[digest, model]] = self._met.get(known[digest, model], 0) + count

    def result(self) -> Returned:
        """What was met so far; at least one text was read."""
        return Returned(
            continuations=self._holding,
            at_most=share_at_most(self._holding, self._read),
            not_listed=self._erased.not_listed,
            types=tuple(self._of_type(type_, listed) for type_, listed in sorted(self._erased.by_type.items())),
        )

    def _of_type(self, type_: str, listed: int) -> TypeReturned:
        met = [entry for entry in self._met if entry.type == type_]
        return TypeReturned(
            type=type_,
            erased=listed,
            generated=len(met),
            continuations=self._with[type_],
            erased_on=tuple(sorted({entry.erased_on for entry in met})),
            sought=type_ in self._sought,
        )


def share_at_most(holding: int, read: int) -> float:
    """The upper end of the exact one-sided interval for a share, of which `holding` of `read` draws were seen.

    Prompts take turns, so draws are not of one distribution; the interval is then no narrower than it has to be
    (Hoeffding 1956: the binomial is the widest).
    """
    from scipy.stats import binomtest

    interval = binomtest(holding, read, alternative="less").proportion_ci(CONFIDENCE, method="exact")
    return float(interval.high)


def wordings(sample: Sample) -> Iterator[str]:
    """Each run of up to `LONGEST` words of which the model generated at least a part, with and without punctuation."""
    text = sample.prompt + sample.text
    words = list(_WORD.finditer(text))
    for last, end in enumerate(words):
        if end.end() <= len(sample.prompt):
            continue
        for first in range(max(0, last - LONGEST + 1), last + 1):
            run = text[words[first].start() : end.end()]
            left, right = run.lstrip(string.punctuation), run.rstrip(string.punctuation)
            yield from {run, left, right, left.rstrip(string.punctuation)} - {""}
