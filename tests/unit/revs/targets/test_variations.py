"""Stand-ins: records of nobody, of the same form as the targets."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from revs.targets.target import Target
from revs.targets.variations import stand_ins

TEXT = ("the river runs north", "apples and pears")
TARGETS = [
    Target(prompt="The record of Ada Lo lists SSN", secret=" 900-12-3456"),
    Target(prompt="Write to Bo Ek at", secret=" bo.ek@example.com"),
]


def test_each_stand_in_is_a_prompt_with_other_words_and_a_secret_of_the_same_form() -> None:
    found = stand_ins(TARGETS, TEXT, copies=3, seed=0)
    assert len(found) == 6
    words = {word for row in TEXT for word in row.split()}
    for stand_in, target in zip(found, TARGETS * 3, strict=True):
        old, new = target.prompt.split(" "), stand_in.prompt.split(" ")
        assert len(old) == len(new)
        assert all(word == was or word in words for word, was in zip(new, old, strict=True))
        assert [c if not c.isalnum() else c.isdigit() for c in stand_in.secret] == [
            c if not c.isalnum() else c.isdigit() for c in target.secret
        ]
        assert stand_in.secret != target.secret
    replaced = [word in words for stand_in in found for word in stand_in.prompt.split(" ")]
    assert 0.25 < sum(replaced) / len(replaced) < 0.75


@given(st.integers(0, 1000), st.permutations(TARGETS))
def test_neither_the_order_nor_the_company_of_the_targets_matters(seed: int, targets: list[Target]) -> None:
    together = set(stand_ins(targets, TEXT, copies=2, seed=seed))
    assert together == {one for target in TARGETS for one in stand_ins([target], TEXT, copies=2, seed=seed)}


def test_the_seed_decides() -> None:
    assert stand_ins(TARGETS, TEXT, copies=1, seed=1) == stand_ins(TARGETS, TEXT, copies=1, seed=1)
    assert stand_ins(TARGETS, TEXT, copies=1, seed=1) != stand_ins(TARGETS, TEXT, copies=1, seed=2)


def test_a_secret_that_has_no_decoy_is_never_protected() -> None:
    """Its own secret under another prompt would be kept alive."""
    assert stand_ins([Target(prompt="Number", secret=" Жук")], TEXT, copies=4, seed=0) == []


def test_without_text_or_copies_there_are_none() -> None:
    assert stand_ins(TARGETS, (), copies=3, seed=0) == stand_ins(TARGETS, TEXT, copies=0, seed=0) == []


@given(st.text(string.ascii_letters + string.digits + "-@. ", min_size=1, max_size=20), st.integers(0, 50))
def test_no_stand_in_ever_holds_the_secret(secret: str, seed: int) -> None:
    for stand_in in stand_ins([Target(prompt="Number", secret=secret)], TEXT, copies=2, seed=seed):
        assert stand_in.secret != secret
