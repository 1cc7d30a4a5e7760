"""Windows: choose a prompt window whose tokens match those of the full text.

A secret must be put to the model in the tokens in which the model has seen it. Three borders can spoil that: the prompt
cannot reach back further than the context, and a text that begins elsewhere may tokenise otherwise (a prefix space,
half a word); a token may lie across the border of prompt and secret; another across the secret's end. So the prompt
begins where the tokens after it come out as they were, the border moves to the start of the token across it, and the
last token is completed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from revs.targets.target import Target, border_before
from revs.targets.tokenize import Encoding, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TRIED = 48  # tokens that a prompt gives up at most to begin where the others come out as they were
_WIDTH = 16  # characters a token of context is taken to have where a text is too long to be tokenised as a whole
_BEHIND = 256  # characters behind an occurrence that are looked at, for a token that goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Characters of a text: `[begin:border]` is the prompt, `[border:end]` the secret, `[end:until]` what shares its
    last token. `begin ≤ border < end ≤ until`.
    """

    begin: int
    border: int
    end: int
    until: int

    def target(self, text: str) -> Target:
        """The target at this place of the text that was cut."""
        return Target(
            prompt=text[self.begin : self.border], secret=text[self.border : self.end],
            after=text[self.end : self.until],
        )  # fmt: skip


def cuts(
    tokenizer: PreTrainedTokenizerBase, text: str, places: Sequence[tuple[int, int]], *, context: int
) -> list[Cut]:
    """The longest prompt for each occurrence `text[start:end]` that leaves room for the secret within `context` tokens.

    The secret begins with the spaces right before the occurrence, or earlier, at the start of a token that lies across
    that border. Where no prompt within 48 tokens of the longest comes out in the text's own tokens, the longest is
    taken that leaves the secret's alone, and failing that the longest.
    """
    whole = encode(tokenizer, [text])[0] if len(text) <= 4 * _WIDTH * context else None
    return [_cut(tokenizer, text, whole, start, end, context) for start, end in places]


def _cut(
    tokenizer: PreTrainedTokenizerBase, text: str, whole: Encoding | None, start: int, end: int, context: int
) -> Cut:
    if whole is None:
        first, part = _around(tokenizer, text, start, end, context)
        found = _cut(tokenizer, part, encode(tokenizer, [part])[0], start - first, end - first, context)
        return Cut(
            begin=found.begin + first, border=found.border + first, end=end, until=found.until + first
        )  # fmt: skip
    border = _border(text, whole, start, end)
    reach = whole.reach(border, end)
    until = max([end, *(offset for _, offset in whole.offsets[reach[0] : reach[1]])])
    return Cut(
        begin=_begin(tokenizer, text[:until], whole, border, reach, context), border=border, end=end, until=until
    )


def _around(tokenizer: PreTrainedTokenizerBase, text: str, start: int, end: int, context: int) -> tuple[int, str]:
    """The first character of a part of a long text, and the part, with more than the context before the occurrence."""
    width = _WIDTH * context
    while True:
        first = max(0, start - width)
        first = first and max(text.find(" ", first, start), first)
        part = text[first : end + _BEHIND]
        if first == 0 or encode(tokenizer, [part])[0].reach(start - first, end - first)[0] > 2 * context:
            return first, part
        width *= 4


def _border(text: str, encoding: Encoding, start: int, end: int) -> int:
    """The first character of the secret: before the spaces in front, and at the start of a token."""
    border = border_before(text, start)
    while True:
        first, stop = encoding.reach(border, end)
        at = encoding.offsets[first][0] if first < stop else border
        if at >= border:
            return border
        border = border_before(text, at)


def _begin(
    tokenizer: PreTrainedTokenizerBase,
    text: str,
    encoding: Encoding,
    border: int,
    reach: tuple[int, int],
    context: int,
) -> int:
    """Where the prompt begins; `text` ends with the last token of the secret."""
    start, stop = reach
    surplus = stop - context
    if surplus <= 0:
        return 0
    fits: list[tuple[bool, int]] = []
    for token, begin in _beginnings(text, encoding, encoding.head + surplus, start):
        again = encode(tokenizer, [text[begin:]])[0]
        if again.ids[again.head :] == encoding.ids[token:stop]:
            return begin
        if len(again.ids) <= context:
            fits.append((again.ids[start - stop :] == encoding.ids[start:stop], begin))
    return next((begin for same, begin in fits if same), fits[0][1] if fits else border)


def _beginnings(text: str, encoding: Encoding, token: int, stop: int) -> Iterator[tuple[int, int]]:
    """Tokens from `token` on, each with the characters at which a text could begin with it: with its space first."""
    for number in range(token, min(token + _TRIED, stop)):
        start, end = encoding.offsets[number]
        before = min(encoding.offsets[number - 1][1], start) if number else start
        bare = start + len(text[start:end]) - len(text[start:end].lstrip(" "))
        yield from ((number, begin) for begin in sorted({before, start, bare}))
