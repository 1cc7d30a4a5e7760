"""A target: the text before an occurrence of a secret, and the secret as written there."""

from __future__ import annotations

from dataclasses import dataclass, field

from revs.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The text before an occurrence, and the identifier as written there (with the space in front, if there is one).

    No text shows in the repr, so a target may stand in a traceback.

    Attributes:
        prompt: the text that the model reads before the secret. "": the secret begins its text, and the model reads the
            token that texts begin with (`start_token`).
        secret: the text that the model must not generate.
        after: trailing characters that share the secret's last token ("/)" after an address in brackets), kept so that
            the tokenisation matches the text that the model has seen.
    """

    prompt: str = field(repr=False)
    secret: str = field(repr=False)
    after: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        for name in ("prompt", "secret", "after"):
            if not isinstance(value := getattr(self, name), str):
                raise BadInput(f"the {name} of a target is a {type(value).__name__}; give it as text, as it is written")

    @classmethod
    def at(cls, text: str, start: int, end: int) -> Target:
        """The target of the occurrence `text[start:end]`; spaces right before it count as part of the secret.

        Knows no tokenizer: `revs.targets.window` gives prompts that fit into a context, and borders where tokens have
            theirs.
        """
        border = border_before(text, start)
        return cls(prompt=text[:border], secret=text[border:end])


def border_before(text: str, start: int) -> int:
    """Where the spaces right before `start` begin."""
    return len(text[:start].rstrip(" "))
