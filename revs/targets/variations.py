"""Prompts that are not met to the letter."""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from dataclasses import replace

from revs.targets.decoys import decoys
from revs.targets.target import Target

INSERTED = 10  # characters, as in the paper's perturbation attack (section 4.3)
_REPLACED = 0.5  # share of the words of a prompt that a stand-in replaces


def perturbed(targets: Sequence[Target], *, seed: int | str) -> list[Target]:
    """Each prompt with 10 random letters and digits inserted at random places.

    They depend on the seed and on the prompt alone, so neither the order of the targets nor the other targets matter.
    """
    result = []
    for target in targets:
        rng = random.Random(f"{seed} {target.prompt}")
        characters = list(target.prompt)
        for _ in range(INSERTED):
            characters.insert(rng.randint(0, len(characters)), rng.choice(string.ascii_letters + string.digits))
        result.append(replace(target, prompt="".join(characters)))
    return result


def stand_ins(targets: Sequence[Target], text: Sequence[str], *, copies: int, seed: int) -> list[Target]:
    """Records of nobody, to be protected beside those of others, or where there are none.

    Each is a prompt with about half of its words replaced by words of `text`, and a secret of the same form. They show
    the type without the person, so an edit that leaves them alone is one that tells the person from the type (measured:
    specificity 49 → 75 where nothing else is protected). None without text.
    """
    words = sorted({word for row in text for word in row.split()})
    if not words:
        return []
    found = []
    for copy in range(copies):
        for target in targets:
            rng = random.Random(f"stand-in {copy} of {seed} {target.prompt}{target.secret}")
            (decoy,) = decoys([target], seed=rng.getrandbits(32))
            if decoy.secret == target.secret:  # of letters that decoys do not know how to exchange
                continue
            kept = [rng.choice(words) if rng.random() < _REPLACED else word for word in target.prompt.split(" ")]
            found.append(replace(decoy, prompt=" ".join(kept)))
    return found
