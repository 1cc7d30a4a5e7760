"""Prompts that are not met to the letter."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence

from revs.targets import Target

_INSERTED = 10  # characters, as in the paper's perturbation attack (section 4.3)


def perturbed(targets: Sequence[Target], *, seed: int | str) -> list[Target]:
    """Each prompt with 10 random letters and digits inserted at random places.

    They depend on the seed and on the prompt alone, so neither the order of the targets nor their company matters.
    """
    result = []
    for target in targets:
        rng = random.Random(f"{seed} {target.prompt}")
        characters = list(target.prompt)
        for _ in range(_INSERTED):
            characters.insert(rng.randint(0, len(characters)), rng.choice(string.ascii_letters + string.digits))
        result.append(Target(prompt="".join(characters), secret=target.secret))
    return result
