"""Occurrences as targets: where in a corpus row the prompt begins and the secret does, and the texts read back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from infra.corpus import Corpus

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.targets import Target

PROMPT_TOKENS = 1024  # a longer prompt brings out hardly more (Carlini et al. 2023, figure 1c) and costs its square
_AT_ONCE = 256  # rows of the corpus in memory together

Row = dict[str, Any]
T = TypeVar("T")


def prompt_context(model: PreTrainedModel) -> int:
    """The most tokens that prompt and secret have together."""
    from revs.architectures import context_length

    return min(context_length(model), PROMPT_TOKENS)


def with_cuts(corpus: Corpus, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, *, context: int) -> list[Row]:
    """The occurrences that have a prompt, each with the characters at which it begins and its secret does (`Cut`)."""
    from revs.cuts import cuts

    places: dict[int, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        places[row["row"]].append(number)
    found: dict[int, Row] = {}
    for some in in_chunks(list(places)):
        for place, text in corpus.texts(some).items():
            spans = [(rows[number]["start"], rows[number]["end"]) for number in places[place]]
            for number, cut in zip(places[place], cuts(tokenizer, text, spans, context=context), strict=True):
                if text[cut.begin : cut.border].strip():
                    found[number] = {**rows[number], "begin": cut.begin, "border": cut.border, "until": cut.until}
    return [found[number] for number in sorted(found)]


def targets_of(corpus: Corpus, rows: Sequence[Row]) -> list[Target]:
    """The targets of rows with cuts, in their order; in memory only."""
    found: list[Target] = []
    for some in in_chunks(rows):
        texts = corpus.texts(row["row"] for row in some)
        found.extend(_target(texts[row["row"]], row) for row in some)
    return found


def _target(text: str, row: Row) -> Target:
    """The target that a row with a cut names in the text of its corpus row."""
    from revs.cuts import Cut

    return Cut(begin=row["begin"], border=row["border"], end=row["end"], until=row["until"]).target(text)


def in_chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """A sequence in parts of at most 256."""
    for first in range(0, len(items), _AT_ONCE):
        yield items[first : first + _AT_ONCE]
