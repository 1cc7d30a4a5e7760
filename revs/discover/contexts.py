"""Near-duplicate contexts: one template copied a thousand times is one context, to be probed and edited a few times.

Two contexts are near duplicates where the token 3-grams of their last 48 tokens have a Jaccard similarity of at least
0.5 (shingling: Broder 1997, "On the resemblance and containment of documents"). Exact, over an inverted index: one
secret has few contexts that differ, so no sketch (MinHash) is needed to find the pairs. The tokens nearest to the
secret decide, because they predict it; what a long document said before is the same text in another setting.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

from scipy.cluster.hierarchy import DisjointSet

_GRAM = 3
_WINDOW = 48
_SIMILAR = 0.5
_MEMBERS = 16  # of a group that others are compared with, so that the work grows with the groups, not with their copies


def grouped(prompts: Sequence[Sequence[int]]) -> list[int]:
    """The group of each prompt (token ids, the secret's not among them), numbered from 0 in the order they appear.

    Groups are the connected components of near duplicates; of a group of many different prompts, further ones are
    compared with its first 16.
    """
    tails = [tuple(prompt[-_WINDOW:]) for prompt in prompts]
    index = _Index()
    for tail in dict.fromkeys(tails):
        index.add(tail)
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(index.groups[tail], len(numbers)) for tail in tails]


def representatives(contexts: Sequence[Hashable], groups: Sequence[int], *, at_most: int) -> list[int]:
    """Places of the contexts that stand for their groups: of the different ones of each, at most `at_most`, spread out.

    `groups` holds the group of each context. Ascending; the first of every group is among them.
    """
    different: dict[int, dict[Hashable, int]] = defaultdict(dict)
    for place, (context, group) in enumerate(zip(contexts, groups, strict=True)):
        different[group].setdefault(context, place)
    chosen: list[int] = []
    for members in different.values():
        places = list(members.values())
        taken = min(at_most, len(places))
        chosen.extend(places[number * len(places) // taken] for number in range(taken))
    return sorted(chosen)


def held_out(groups: Sequence[int], *, share: float, rng: random.Random) -> set[int]:
    """Groups to set aside, to measure on: `share` of the different ones, rounded down; none of fewer than three."""
    different = list(dict.fromkeys(groups))
    return set(rng.sample(different, int(share * len(different)))) if len(different) >= 3 else set()


class _Index:
    """Groups of tails, and which tails hold which 3-gram."""

    def __init__(self) -> None:
        self.groups: DisjointSet = DisjointSet()
        self._sizes: dict[tuple[int, ...], int] = {}
        self._holders: dict[tuple[int, ...], list[tuple[int, ...]]] = defaultdict(list)

    def add(self, tail: tuple[int, ...]) -> None:
        """A tail that is not in yet: joins the groups of all its near duplicates."""
        grams = _grams(tail)
        shared = Counter(other for gram in grams for other in self._holders[gram])
        self.groups.add(tail)
        for other, common in shared.items():
            if common >= _SIMILAR * (len(grams) + self._sizes[other] - common):
                self.groups.merge(other, tail)
        if self.groups.subset_size(tail) <= _MEMBERS:
            self._sizes[tail] = len(grams)
            for gram in grams:
                self._holders[gram].append(tail)


def _grams(tail: tuple[int, ...]) -> set[tuple[int, ...]]:
    """The 3-grams of a tail; a shorter one is a gram of its own."""
    return {tail[place : place + _GRAM] for place in range(max(1, len(tail) - _GRAM + 1))}
