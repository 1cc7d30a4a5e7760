"""A function that is made anew in another is checked each time it is made, against what it says itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from beartype.roar import BeartypeCallHintParamViolation, BeartypeCallHintReturnViolation
from checked_types import checked
from jaxtyping import Float, jaxtyped
from torch import Tensor, zeros


def adding(number: object) -> Callable[..., int]:
    @checked
    def add(other: int, *, times: int = 1) -> int:
        return number + other * times

    return add


def test_the_second_is_checked_as_the_first_and_is_itself() -> None:
    one, two, three = adding(1), adding(2), adding(0.5)
    assert (one(3), two(3), two(3, times=2)) == (4, 5, 8)
    for each in (one, two):
        with pytest.raises(BeartypeCallHintParamViolation, match="other"):
            each("a")
    with pytest.raises(BeartypeCallHintReturnViolation):
        three(1)
    assert one is not two and two.__name__ == "add"


def test_a_function_of_the_same_name_with_other_annotations_is_another() -> None:
    def made(kind: type) -> Callable[..., object]:
        def same(value: object) -> object:
            return value

        same.__annotations__["value"] = kind
        return checked(same)

    assert (made(int)(1), made(str)("a")) == (1, "a")
    with pytest.raises(BeartypeCallHintParamViolation):
        made(str)(1)


def test_shapes_are_compared_within_each_call() -> None:
    def made() -> Callable[[Tensor, Tensor], None]:
        @jaxtyped(typechecker=checked)
        def both(first: Float[Tensor, "N V"], second: Float[Tensor, "N V"]) -> None:
            return None

        return both

    for _ in range(3):
        made()(zeros(2, 1), zeros(2, 1))
        with pytest.raises(Exception, match="second"):
            made()(zeros(2, 1), zeros(3, 1))
