"""National numbering plans, from the tables of the phonenumbers library, compiled once.

The library compiles and walks its tables anew for each number and region; a number without a country code has to be
looked up in every region, so this is what detection spends its time on. The answers are the library's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate, product
from re import _parser  # type: ignore[attr-defined]  # typeshed omits it; no public parser of expressions exists
from typing import Any

REGIONS = (
    "US",
    "CA",
    "GB",
    "DE",
    "FR",
    "AU",
    "SE",
    "ES",
    "IT",
    "NL",
    "CH",
    "AT",
    "BE",
    "PL",
    "BR",
    "IN",
    "JP",
    "KR",
    "CN",
    "IL",
)
OPTIONAL_TRUNK = frozenset({"BR", "CN", "IN"})
"""Regions whose national prefix 0 is often left out."""
_NO_LENGTH = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One region's numbers: prefix, possible lengths without it, expressions of valid ones, and their groupings."""

    region: str
    prefix: str
    lengths: frozenset[int]
    kinds: tuple[tuple[frozenset[int], re.Pattern[str]], ...]
    formats: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]

    def national(self, digits: str) -> str:
        """The digits without the national prefix; empty where they are no possible number of this plan."""
        if self.prefix == "0" and digits[0] != "0" and self.region not in OPTIONAL_TRUNK:
            return ""
        national = digits.removeprefix(self.prefix)
        return national if len(national) in self.lengths else ""

    def is_valid(self, national: str) -> bool:
        """Whether the plan assigns the number to some kind of line."""
        return any(len(national) in lengths and form.fullmatch(national) for lengths, form in self.kinds)

    def grouping(self, national: str) -> tuple[int, ...]:
        """Lengths of the groups in which such a number is written; one group where the plan does not say."""
        for leading, form in self.formats:
            if leading.match(national) and (groups := form.fullmatch(national)):
                return tuple(map(len, groups.groups()))
        return (len(national),)


@cache
def plan(region: str) -> Plan:
    """The plan of a region, an ISO 3166 code."""
    import phonenumbers

    table: Any = phonenumbers.PhoneMetadata.metadata_for_region(region)
    kinds = (getattr(table, kind.lower(), None) for kind in vars(phonenumbers.PhoneNumberType) if kind.isupper())
    return Plan(
        region=region,
        prefix=table.national_prefix or "",
        lengths=frozenset(table.general_desc.possible_length),
        kinds=tuple(
            (
                frozenset(kind.possible_length or table.general_desc.possible_length),
                re.compile(kind.national_number_pattern),
            )
            for kind in kinds
            if kind is not None and kind.national_number_pattern and _NO_LENGTH not in kind.possible_length
        ),
        formats=tuple(
            (re.compile((form.leading_digits_pattern or [""])[-1]), re.compile(form.pattern))
            for form in table.number_format
        ),
    )


@cache
def plans_for(head: str, length: int, regions: tuple[str, ...] = REGIONS) -> tuple[Plan, ...]:
    """The plans in which that many digits, beginning with these two, can be a number; no prefix is longer than that."""
    tail = "5" * (length - len(head))
    return tuple(plan(region) for region in regions if plan(region).national(head + tail))


@cache
def groupings(region: str, length: int) -> frozenset[tuple[int, ...]]:
    """Every tuple that `Plan.grouping` can give for numbers of that many digits, and perhaps more."""
    widths = [_widths(form) for _, form in plan(region).formats]
    found = {lengths for ranges in widths for lengths in product(*ranges) if sum(lengths) == length}
    return frozenset(found | {(length,)})


def is_written_so(digits: str, groups: tuple[int, ...], regions: tuple[str, ...] = REGIONS) -> bool:
    """Whether some plan parts this number as it is written, in groups of these lengths.

    Where the plan has a trunk prefix 0, and it is written, the places where the number is parted are among those of the
    plan's own writing, or the other way round (the range may be newer than the plan at hand); elsewhere the number has
    to be valid and parted in the same places.
    """
    return any(True for _ in _as_written(digits, groups, regions))


def plans_as_written(digits: str, groups: tuple[int, ...], regions: tuple[str, ...] = REGIONS) -> list[Plan]:
    """The plans that part this number so; where there are any that part it exactly so, only these."""
    found = list(_as_written(digits, groups, regions))
    return [of for of, exactly in found if exactly] or [of for of, _ in found]


def _as_written(digits: str, groups: tuple[int, ...], regions: tuple[str, ...]) -> Iterator[tuple[Plan, bool]]:
    for of, national_groups, trunk in _plans_that_part_so(digits[:2], len(digits), groups, regions):
        national = of.national(digits)
        usual = of.grouping(national)
        if _agree(national_groups, usual, exactly=not trunk) and (trunk or of.is_valid(national)):
            yield of, _agree(national_groups, usual, exactly=True)


@lru_cache(maxsize=1 << 14)
def _plans_that_part_so(
    head: str, length: int, groups: tuple[int, ...], regions: tuple[str, ...]
) -> tuple[tuple[Plan, tuple[int, ...], bool], ...]:
    """Plans that part some number of these first digits so; with the groups of its national part, and if 0 stands."""
    found = []
    for of in plans_for(head, length, regions):
        digits_left = len(of.national(head + "5" * (length - len(head))))
        has_prefix = digits_left < length
        left = groups[1:] if has_prefix and groups[0] == len(of.prefix) else groups  # 1-NNN-NNN-NNNN
        trunk = has_prefix and of.prefix == "0"
        if any(_agree(left, usual, exactly=not trunk) for usual in groupings(of.region, digits_left)):
            found.append((of, left, trunk))
    return tuple(found)


def _agree(groups: tuple[int, ...], usual: tuple[int, ...], *, exactly: bool) -> bool:
    """Whether the places of one writing are among those of the other, counted from the end; one group tells nothing."""
    ours, theirs = (set(accumulate(reversed(writing[1:]))) for writing in (groups, usual))
    if exactly or not (ours and theirs):
        return bool(ours) and ours == theirs
    return ours <= theirs or theirs <= ours


def _widths(form: re.Pattern[str]) -> list[range]:
    """The lengths that each group of the expression can have."""
    parsed = _parser.parse(form.pattern)
    bodies = [argument[-1] for operation, argument in parsed if str(operation) == "SUBPATTERN"]
    return [range(low, high + 1) for low, high in (body.getwidth() for body in bodies)]


def is_region(code: str) -> bool:
    """Whether the library has a plan for this region, in which national prefixes have at most two digits."""
    import phonenumbers

    known = code in phonenumbers.SUPPORTED_REGIONS
    return known and len(plan(code).prefix) <= 2
