"""Contexts: occurrences with the prompt that they are asked for with, and the texts read back from the corpus.

An occurrence that begins its row is asked for too: never asked is not "not memorised".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from infra.batches.records import Context
from infra.corpus import Corpus
from infra.search.occurrences import Occurrence

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.targets.target import Target
    from revs.targets.window import Cut

PROMPT_TOKENS = 1024  # a longer prompt brings out hardly more (Carlini et al. 2023, figure 1c) and costs its square
_AT_ONCE = 256  # rows of the corpus in memory together

T = TypeVar("T")


def prompt_context(model: PreTrainedModel) -> int:
    """The most tokens that prompt and secret have together."""
    from revs.model.families import context_length

    return min(context_length(model), PROMPT_TOKENS)


def contexts_of(
    corpus: Corpus,
    occurrences: Sequence[Occurrence],
    tokenizer: PreTrainedTokenizerBase,
    *,
    context: int,
    joined_by: str | None = None,
) -> list[Context]:
    """The occurrences, each with the characters at which its prompt begins and its secret does (`Cut`).

    `asked_from` says what the prompt is: the "row" before the occurrence; where the row begins with it, the end of the
    "row before", if rows follow one another in training with `joined_by` between them; else the "beginning of text",
    an empty prompt. One that cannot be probed has the reason under `unprobed`.
    """
    from revs.targets.window import cuts

    places: dict[int, list[int]] = defaultdict(list)
    for number, occurrence in enumerate(occurrences):
        places[occurrence.row].append(number)
    found: dict[int, Context] = {}
    for some in in_chunks(list(places)):
        texts = corpus.texts({*some, *(row - 1 for row in some if row and joined_by is not None)})
        for row in some:
            spans = [(occurrences[number].start, occurrences[number].end) for number in places[row]]
            before = texts.get(row - 1) if joined_by is not None else None
            for number, cut in zip(places[row], cuts(tokenizer, texts[row], spans, context=context), strict=True):
                asked = _asked(occurrences[number], cut)
                if cut.border == 0 and before:
                    asked = _behind(tokenizer, before, str(joined_by), texts[row], occurrences[number], context)
                found[number] = asked
    return _with_unprobed(corpus, [found[number] for number in sorted(found)], tokenizer, context=context)


def _asked(occurrence: Occurrence, cut: Cut, *, shift: int = 0, joined_by: str = "") -> Context:
    """The occurrence asked for from its own row, from nothing where the row begins with it, or from the row before."""
    crowded = cut.border == cut.begin > 0 and not shift
    return Context(
        occurrence=occurrence,
        asked_from="row before" if shift else "row" if cut.border > 0 else "beginning of text",
        begin=cut.begin,
        border=cut.border,
        until=cut.until,
        shift=shift,
        joined_by=joined_by,
        unprobed="its context leaves no room for a prompt" if crowded else None,
    )


def _behind(
    tokenizer: PreTrainedTokenizerBase, before: str, joined_by: str, text: str, occurrence: Occurrence, context: int
) -> Context:
    """The occurrence asked for from the end of the row before."""
    from revs.targets.window import cuts

    shift = len(before) + len(joined_by)
    span = (occurrence.start + shift, occurrence.end + shift)
    (cut,) = cuts(tokenizer, before + joined_by + text, [span], context=context)
    return _asked(occurrence, cut, shift=shift, joined_by=joined_by)


def not_erased(corpus: Corpus, contexts: Sequence[Context], erased: Iterable[str]) -> list[Context]:
    """Those of other people's contexts whose secret is none of those to be erased: nothing can be erased and kept."""
    from revs.targets.preflight import bare_secret

    taken = {bare_secret(secret) for secret in erased}
    return [
        context
        for some in in_chunks(contexts)
        for context, target in zip(some, targets_of(corpus, some), strict=True)
        if bare_secret(target.secret) not in taken
    ]


def targets_of(corpus: Corpus, contexts: Sequence[Context]) -> list[Target]:
    """The targets of contexts, in their order; in memory only."""
    found: list[Target] = []
    for some in in_chunks(contexts):
        texts = corpus.texts({each.occurrence.row - back for each in some for back in ((0, 1) if each.shift else (0,))})
        found.extend(_target(texts, each) for each in some)
    return found


def _target(texts: Mapping[int, str], context: Context) -> Target:
    """The target that a context names in the text of its row, and of the one before where that counts."""
    from revs.targets.window import Cut

    text = texts[context.occurrence.row]
    if context.shift:
        text = texts[context.occurrence.row - 1] + context.joined_by + text
    end = context.occurrence.end + context.shift
    return Cut(begin=context.begin, border=context.border, end=end, until=context.until).target(text)


def _with_unprobed(
    corpus: Corpus, contexts: Sequence[Context], tokenizer: PreTrainedTokenizerBase, *, context: int
) -> list[Context]:
    """The contexts, those that cannot be put to the model with the reason: one of them must not stop the others."""
    found: list[Context] = []
    for some in in_chunks(contexts):
        reasons = unprobeable(tokenizer, targets_of(corpus, some), context=context)
        found.extend(
            each if each.unprobed or not reason else each.model_copy(update={"unprobed": reason})
            for each, reason in zip(some, reasons, strict=True)
        )
    return found


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
