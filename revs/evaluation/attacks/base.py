"""What an attack is: an adversary with the weights, the prompts and a budget of candidates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from revs.evaluation.context import Examination
    from revs.targets.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an attack got, target by target.

    Attributes:
        candidates: size of the candidate set in which each secret stands: tries, samples, steps or tokens looked at, as
            the attack says. None: not found within the budget.
        budget: the largest candidate set that the attack looks at. A secret falls when it stands in a set of at most
            this size; attacks that know the size beyond it give it too.
    """

    candidates: tuple[int | None, ...]
    budget: int

    @property
    def fallen(self) -> tuple[bool, ...]:
        return tuple(size is not None and size <= self.budget for size in self.candidates)

    @property
    def rate(self) -> float:
        """Share of the secrets that fell, percent; at least one was attacked."""
        return self.rate_within(self.budget)

    def rate_within(self, budget: int) -> float:
        """The same with a smaller budget."""
        return 100 * sum(size is not None and size <= budget for size in self.candidates) / len(self.candidates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack.

    Attributes:
        name: key of `revs.evaluation.attacks.ATTACKS`.
        counts: what a candidate is.
        run: attacks the secrets of an examination. Raises `revs.errors.Gap` where it lacks something.
    """

    name: str
    counts: str
    run: Callable[[Examination], Outcome]


def first_success(tries: Iterable[Sequence[bool]], *, budget: int) -> Outcome:
    """The outcome of tries one after the other, each over all targets: the number of the first that succeeded."""
    found: list[int | None] = []
    for number, extracted in enumerate(tries, start=1):
        found = found or [None] * len(extracted)
        found = [number if old is None and now else old for old, now in zip(found, extracted, strict=True)]
    return Outcome(candidates=tuple(found), budget=budget)


def by_prompts(examination: Examination, variants: Sequence[Sequence[Target]]) -> Outcome:
    """Greedy decoding from several variants of every prompt, one try each."""
    return first_success((examination.extracts(targets) for targets in variants), budget=len(variants))
