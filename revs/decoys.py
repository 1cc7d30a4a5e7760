"""Decoys: random secrets of the same type under the same prompts, the control of every score.

A model that memorised nothing of a person still knows what an SSN looks like. Decoys tell which share of a score is the
type, and which is the secret.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from revs.targets import Target

_VOWELS, _CONSONANTS = "aeiou", "bcdfghjklmnpqrstvwxyz"


def decoys(targets: Sequence[Target], *, seed: int) -> list[Target]:
    """Each target with another secret of the same form; targets that share a secret share its decoy.

    Digits become other digits, vowels vowels, consonants consonants; separators, and the domain of an e-mail address,
    stay.
    """
    rng = random.Random(seed)
    bare = [target.secret.strip() for target in targets]
    drawn = {secret: _redraw(secret, rng) for secret in dict.fromkeys(bare)}
    return [
        replace(target, secret=target.secret.replace(secret, drawn[secret]))
        for target, secret in zip(targets, bare, strict=True)
    ]


def _redraw(secret: str, rng: random.Random) -> str:
    local, at, domain = secret.partition("@")
    return "".join(_other(character, rng) for character in local) + at + domain


def _other(character: str, rng: random.Random) -> str:
    for pool in ("0123456789", _VOWELS, _CONSONANTS):
        if character.lower() in pool:
            drawn = rng.choice([c for c in pool if c != character.lower()])
            return drawn.upper() if character.isupper() else drawn
    return character
