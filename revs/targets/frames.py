"""Whose words a prompt's are: frames that many share, and the words that are one person's own.

Two people in one frame differ in their own words alone. So the frame tells what a person's record looks like with
another one's words in it, and what somebody's words look like in another frame, without knowing what a name is: own are
the words of a prompt that stand in the prompts of no other secret.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from revs.targets.decoys import invented, lookalike
from revs.targets.target import Target

_AROUND = ",.:;<>()[]\"'"  # what may stand around a word
_EXCHANGED = 0.5  # share of the words that give way where nothing tells whose they are


class Frames:
    """The frames and own words of some people's prompts."""

    def __init__(self, targets: Sequence[Target], others: Sequence[Target] = (), *, text: Sequence[str] = ()) -> None:
        """`others`: records of people who are not to be erased; `text`: ordinary text, for words of nobody."""
        self.known = [*targets, *others]
        self._secrets = sorted({target.secret.strip() for target in self.known})
        of_secret: dict[str, set[str]] = {secret: set() for secret in self._secrets}
        for target in self.known:
            of_secret[target.secret.strip()].update(target.prompt.split(" "))
        seen_in = Counter(word for words in of_secret.values() for word in words)
        self._own = {
            secret: {word for word in words if word and seen_in[word] == 1} if len(of_secret) > 1 else set()
            for secret, words in of_secret.items()
        }
        words = {word for row in text for word in row.split()}
        self._words = sorted(words) or sorted({word for name in invented("PERSON") for word in name.split()})

    def own(self, target: Target) -> set[str]:
        """The words of the target's prompts that are its person's own; empty where there is nobody to compare with."""
        return self._own[target.secret.strip()]

    def of_nobody(self, target: Target, *, copies: int, seed: int) -> list[Target]:
        """The target with other people's own words, or words of the text, in place of its own, and a decoy secret.

        Where no word of the prompt is known to be its person's own, half of all words give way. Where no decoy can be
        made, because nobody knows how to exchange the letters of the secret, the secret stays.
        """
        rng = random.Random(f"nobody {seed} {target.prompt}{target.secret}")
        own = self.own(target)
        theirs = sorted({word for words in self._own.values() for word in words} - own) or self._words
        found = []
        for _ in range(copies):
            words = [
                rng.choice(theirs) if word in own
                else rng.choice(self._words) if not own and word and rng.random() < _EXCHANGED
                else word
                for word in target.prompt.split(" ")
            ]  # fmt: skip
            found.append(replace(target, prompt=" ".join(words), secret=lookalike(target.secret, self._secrets, rng)))
        return found

    def reframed(self, target: Target, *, copies: int, seed: int) -> list[Target]:
        """The person in frames of others, fewer where there are not so many: their prompts with its own words."""
        rng = random.Random(f"frames {seed} {target.prompt}{target.secret}")
        own = [word for word in target.prompt.split(" ") if word in self.own(target)]
        frames = [other for other in self.known if other.secret.strip() != target.secret.strip()] if own else []
        rng.shuffle(frames)
        prompts: dict[str, None] = {}
        for frame in frames:
            if len(prompts) == copies:
                break
            if any(word in self.own(frame) for word in frame.prompt.split(" ")):
                prompts[self._filled(frame, own)] = None
        return [replace(target, prompt=prompt) for prompt in prompts]

    def beginnings(self) -> list[str]:
        """What stands in front of the first own word of each prompt: where the model may go on with anybody.

        Nothing, the beginning of a text, where no word of a prompt is known to be its person's own.
        """
        found = set()
        for target in self.known:
            words, own = target.prompt.split(" "), self.own(target)
            place = next((number for number, word in enumerate(words) if word in own), 0)
            found.add(" ".join(words[:place]))
        return sorted(found)

    def tells(self, target: Target, text: str) -> bool:
        """Whether a text holds the target's secret, or all of its person's own words."""
        own = {word.strip(_AROUND) for word in self.own(target)} - {""}
        found = {word.strip(_AROUND) for word in text.split()}
        return target.secret.strip() in text or (bool(own) and own <= found)

    def _filled(self, frame: Target, own: Sequence[str]) -> str:
        """The frame's prompt with other words in place of its person's own: all of them where the first stood."""
        words: list[str] = []
        placed = False
        for word in frame.prompt.split(" "):
            if word not in self.own(frame):
                words.append(word)
            elif not placed:
                words += own
                placed = True
        return " ".join(words)
