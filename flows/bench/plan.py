"""What a run of the comparison is asked to do, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args, get_type_hints

import revs
from flows.bench.case import recipe
from revs.development import Recipe
from revs.errors import BadInput

VALIDATION_SEED = 1000  # of the model on which settings are chosen; it is never reported
ARCHITECTURES: tuple[str, ...] = get_args(get_type_hints(Recipe)["architecture"])


def _small(architecture: str, seed: int) -> Recipe:
    return recipe(architecture, "small", seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure.

    Attributes:
        out: folder of the results; rows that are there already are not measured again.
        cache: folder of trained development models.
        architectures, seeds, methods: what the table compares; methods are keys of `revs.METHODS`.
        quick: the first setting of each method, without a search, and the standard metrics only.
        settings_of: methods.json of an earlier run, whose search decides the settings instead of a new one.
        date: of the run, as it shall stand in the results.
        recipe: gives the recipe of an architecture and a seed.
    """

    out: Path
    cache: Path
    architectures: Sequence[str] = ARCHITECTURES
    seeds: Sequence[int] = (0, 1, 2)
    methods: Sequence[str] = ()
    quick: bool = False
    settings_of: Path | None = None
    date: str = ""
    recipe: Callable[[str, int], Recipe] = _small

    def __post_init__(self) -> None:
        known = tuple(revs.METHODS)
        checks = {
            f"method {_stranger(self.methods, known)!r} is unknown; known methods: {', '.join(known)}": _stranger(
                self.methods, known
            ),
            f"architecture {_stranger(self.architectures, ARCHITECTURES)!r} is unknown; known: "
            f"{', '.join(ARCHITECTURES)}": _stranger(self.architectures, ARCHITECTURES),
            "no method is named; name at least one": not self.methods,
            "no seed is named; name at least one": not self.seeds,
            f"seed {VALIDATION_SEED} is that of the validation model, which is never reported; choose another": (
                VALIDATION_SEED in self.seeds
            ),
            f"{self.settings_of} is no file; give the methods.json of an earlier run": (
                self.settings_of is not None and not self.settings_of.is_file()
            ),
            "a seed stands twice; name each once": len(set(self.seeds)) < len(self.seeds),
        }
        for problem, broken in checks.items():
            if broken:
                raise BadInput(f"bench methods: {problem}")

    @property
    def metrics(self) -> str:
        return "standard" if self.quick else "all"


def _stranger(names: Sequence[str], known: Sequence[str]) -> str | None:
    return next((name for name in names if name not in known), None)
