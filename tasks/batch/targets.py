"""Occurrences as targets: where in a corpus row the prompt begins and the secret does, and the texts read back.

An occurrence that begins its row is asked for too: never asked is not "not memorised".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from infra.corpus import Corpus

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.targets.target import Target
    from revs.targets.window import Cut

PROMPT_TOKENS = 1024  # a longer prompt brings out hardly more (Carlini et al. 2023, figure 1c) and costs its square
_AT_ONCE = 256  # rows of the corpus in memory together

Row = dict[str, Any]
T = TypeVar("T")


def prompt_context(model: PreTrainedModel) -> int:
    """The most tokens that prompt and secret have together."""
    from revs.model.families import context_length

    return min(context_length(model), PROMPT_TOKENS)


def with_cuts(
    corpus: Corpus,
    rows: Sequence[Row],
    tokenizer: PreTrainedTokenizerBase,
    *,
    context: int,
    joined_by: str | None = None,
) -> list[Row]:
    """The occurrences, each with the characters at which its prompt begins and its secret does (`Cut`).

    `asked_from` says what the prompt is: the "row" before the occurrence; where the row begins with it, the end of the
    "row before", if rows follow one another in training with `joined_by` between them; else the "beginning of text",
    an empty prompt. A row that cannot be probed has the reason under `unprobed`.
    """
    from revs.targets.window import cuts

    places: dict[int, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        places[row["row"]].append(number)
    found: dict[int, Row] = {}
    for some in in_chunks(list(places)):
        texts = corpus.texts({*some, *(row - 1 for row in some if row and joined_by is not None)})
        for place in some:
            spans = [(rows[number]["start"], rows[number]["end"]) for number in places[place]]
            for number, cut in zip(places[place], cuts(tokenizer, texts[place], spans, context=context), strict=True):
                before = texts.get(place - 1) if joined_by is not None else None
                if cut.border > cut.begin:
                    asked = _Asked(cut, "row").places()
                elif cut.border > 0:
                    asked = _Asked(cut, "row").places() | {"unprobed": "its context leaves no room for a prompt"}
                elif before:
                    asked = _behind(tokenizer, before, str(joined_by), texts[place], rows[number], context).places()
                else:
                    asked = _Asked(cut, "beginning of text").places()
                found[number] = {**rows[number], **asked}
    ordered = [found[number] for number in sorted(found)]
    _mark_unprobed(corpus, ordered, tokenizer, context=context)
    return ordered


def not_erased(corpus: Corpus, rows: Sequence[Row], erased: Iterable[str]) -> list[Row]:
    """Those of other people's rows whose secret is none of those to be erased: nothing can be erased and kept."""
    from revs.targets.preflight import bare_secret

    taken = {bare_secret(secret) for secret in erased}
    return [
        row
        for some in in_chunks(rows)
        for row, target in zip(some, targets_of(corpus, some), strict=True)
        if bare_secret(target.secret) not in taken
    ]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Where prompt and secret stand, in a text that has `shift` characters of the row before in front."""

    cut: Cut
    asked_from: str
    shift: int = 0
    joined_by: str = ""

    def places(self) -> Row:
        own: Row = {"begin": self.cut.begin, "border": self.cut.border, "until": self.cut.until}
        joined = {"shift": self.shift, "joined_by": self.joined_by} if self.shift else {}
        return own | joined | {"asked_from": self.asked_from}


def _behind(
    tokenizer: PreTrainedTokenizerBase, before: str, joined_by: str, text: str, row: Row, context: int
) -> _Asked:
    """The occurrence with the end of the row before as its prompt."""
    from revs.targets.window import cuts

    shift = len(before) + len(joined_by)
    (cut,) = cuts(tokenizer, before + joined_by + text, [(row["start"] + shift, row["end"] + shift)], context=context)
    return _Asked(cut, "row before", shift, joined_by)


def targets_of(corpus: Corpus, rows: Sequence[Row]) -> list[Target]:
    """The targets of rows with cuts, in their order; in memory only."""
    found: list[Target] = []
    for some in in_chunks(rows):
        texts = corpus.texts({row["row"] - back for row in some for back in ((0, 1) if "shift" in row else (0,))})
        found.extend(_target(texts, row) for row in some)
    return found


def _target(texts: Mapping[int, str], row: Row) -> Target:
    """The target that a row with a cut names in the text of its corpus row, and of the one before where that counts."""
    from revs.targets.window import Cut

    text, shift = texts[row["row"]], row.get("shift", 0)
    if shift:
        text = texts[row["row"] - 1] + row["joined_by"] + text
    return Cut(begin=row["begin"], border=row["border"], end=row["end"] + shift, until=row["until"]).target(text)


def _mark_unprobed(corpus: Corpus, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, *, context: int) -> None:
    """Give the rows that cannot be put to the model the reason: one of them must not stop the others."""
    for some in in_chunks(rows):
        for row, reason in zip(some, unprobeable(tokenizer, targets_of(corpus, some), context=context), strict=True):
            if reason:
                row.setdefault("unprobed", reason)


def unprobeable(tokenizer: PreTrainedTokenizerBase, targets: Sequence[Target], *, context: int) -> list[str | None]:
    """Why each target cannot be put to the model, in a sentence without its text; None where it can."""
    from revs.errors import BadInput
    from revs.targets.tokenize import tokenise

    try:
        tokenise(tokenizer, targets, context=context)
    except BadInput as error:
        if len(targets) == 1:
            return [str(error).removeprefix("target 0: ")]
        half = len(targets) // 2
        return [
            reason
            for part in (targets[:half], targets[half:])
            for reason in unprobeable(tokenizer, part, context=context)
        ]
    return [None] * len(targets)


def askable(tokenizer: PreTrainedTokenizerBase, targets: Sequence[Target], *, context: int) -> list[Target]:
    """Those of the targets that can be put to the model."""
    reasons = unprobeable(tokenizer, targets, context=context)
    return [target for target, reason in zip(targets, reasons, strict=True) if reason is None]


def in_chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """A sequence in parts of at most 256."""
    for first in range(0, len(items), _AT_ONCE):
        yield items[first : first + _AT_ONCE]
