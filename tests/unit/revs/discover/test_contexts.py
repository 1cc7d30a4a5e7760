"""Near-duplicate contexts of one secret: which count as one, which stand for the others, which are set aside."""

from __future__ import annotations

import itertools
import random
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from revs.discover.contexts import grouped, held_out, representatives


def by_pairs(prompts: list[list[int]]) -> list[int]:
    """The slow obvious way: every pair, then groups that share a member become one."""
    sets = [{tuple(p[-48:][i : i + 3]) for i in range(max(1, len(p[-48:]) - 2))} for p in prompts]
    groups = list(range(len(prompts)))
    for a, b in itertools.combinations(range(len(prompts)), 2):
        if prompts[a][-48:] == prompts[b][-48:] or len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= 0.5:
            groups = [groups[a] if group == groups[b] else group for group in groups]
    numbers: dict[int, int] = {}
    return [numbers.setdefault(group, len(numbers)) for group in groups]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), max_size=9), max_size=12))
def test_groups_are_those_of_a_comparison_of_every_pair(prompts: list[list[int]]) -> None:
    assert grouped(prompts) == by_pairs(prompts)


def test_a_template_with_another_word_in_it_is_the_same_context_and_another_sentence_is_not() -> None:
    template, other = list(range(20)), list(range(50, 70))
    worded = [*template[:10], 99, *template[11:]]
    assert grouped([template, other, worded, template]) == [0, 1, 0, 0]


def test_what_a_long_document_says_before_does_not_count() -> None:
    sentence = list(range(48))
    assert grouped([[7] * 500 + sentence, [8] * 300 + sentence, sentence]) == [0, 0, 0]


def test_a_chain_of_near_duplicates_is_one_group() -> None:
    """The first and the last share nothing, but no border between them would be one between unlike contexts."""
    chain = [list(range(first, first + 12)) for first in range(0, 15, 3)]
    assert grouped([chain[0], chain[-1]]) == [0, 1]
    assert set(grouped(chain)) == {0}
    assert set(grouped([chain[0], chain[4], chain[2], chain[1], chain[3]])) == {0}


def test_thousands_of_copies_of_a_template_cost_no_comparison_with_each_other() -> None:
    rng = random.Random(0)
    copies = [[*range(30), rng.randrange(10**6), *range(30, 40)] for _ in range(4000)]
    started = time.process_time()
    assert set(grouped(copies)) == {0}
    assert time.process_time() - started < 10


def test_a_few_different_contexts_stand_for_each_group() -> None:
    contexts = ["a", "a", "b", "c", "a", "d", "e", "x", "f"]
    groups = [0, 0, 0, 0, 0, 0, 0, 1, 0]
    assert representatives(contexts, groups, at_most=1) == [0, 7]
    assert representatives(contexts, groups, at_most=3) == [0, 3, 6, 7]
    assert representatives(contexts, groups, at_most=9) == [0, 2, 3, 5, 6, 7, 8]


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(0, 5))
def test_a_share_of_the_groups_is_set_aside_and_something_is_left_to_edit(groups: list[int], seed: int) -> None:
    aside = held_out(groups, share=0.5, rng=random.Random(seed))
    different = set(groups)
    assert aside <= different
    assert len(aside) == (len(different) // 2 if len(different) >= 3 else 0)
    assert aside == held_out(groups, share=0.5, rng=random.Random(seed))
