"""Targets cut out of texts: prompt and secret come out in the tokens that the text has, whatever the tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, tokenise
from revs.targets.window import Cut, cuts

SPECIAL = ["<s>", "</s>", "<unk>", "<pad>"]
TEXTS = (
    "The weather in the valley was mild and the market opened early.",
    "Records (412-55) are kept at (http://a.example.org/). Numbers: 12, 85 and 300.",
    "SSN 412-55-9031 of the naïve café, see <flint@example.org>; mail dee.ellis@example.com, phone 212-555-0142.",
)
LEARNT = [*TEXTS, "(http://b.example.org/). (http://c.example.org/)."] * 6


def wrapped(tokenizer: Any, *, bos: bool, end: bool) -> Any:
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    own = tokenizer.post_processor
    form = processors.TemplateProcessing(
        single=("<s> " if bos else "") + "$A" + (" </s>" if end else ""), special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer.post_processor = processors.Sequence([own, form]) if own is not None else form
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )


def byte_level(*, trim: bool, prefix: bool) -> Any:
    """As GPT-2 (its offsets leave the space out), Llama 3 (they do not), RoBERTa and Falcon (a space put in front)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=trim, add_prefix_space=prefix)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(LEARNT, trainer)
    return tokenizer


def unigram(*, scheme: str, split: bool) -> Any:
    """As T5 and XLNet, and with `split=False` with tokens across spaces."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    trainer = trainers.UnigramTrainer(vocab_size=160, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(LEARNT, trainer)
    return tokenizer


def sentencepiece_bpe() -> Any:
    """As Llama 2 and Mistral: a space in front, the text as one word, bytes for what is unknown."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=SPECIAL + pieces, max_token_length=8, show_progress=False
    )
    tokenizer.train_from_iterator([word for text in LEARNT for word in text.split(" ")], trainer)
    return tokenizer


def word_pieces() -> Any:
    """As BERT's: lower case, no spaces, pieces of words."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        LEARNT, trainers.WordPieceTrainer(vocab_size=220, special_tokens=SPECIAL, show_progress=False)
    )
    return tokenizer


FAMILIES: dict[str, Callable[[], Any]] = {
    "byte-level": lambda: wrapped(byte_level(trim=False, prefix=False), bos=True, end=False),
    "byte-level, trimmed offsets": lambda: wrapped(byte_level(trim=True, prefix=False), bos=False, end=False),
    "byte-level, prefix space, begin and end": lambda: wrapped(byte_level(trim=True, prefix=True), bos=True, end=True),
    "unigram": lambda: wrapped(unigram(scheme="always", split=True), bos=False, end=True),
    "unigram, first, across spaces": lambda: wrapped(unigram(scheme="first", split=False), bos=True, end=False),
    "sentencepiece BPE": lambda: wrapped(sentencepiece_bpe(), bos=True, end=False),
    "word pieces": lambda: wrapped(word_pieces(), bos=True, end=True),
}


@pytest.fixture(scope="module", params=FAMILIES)
def any_tokenizer(request: pytest.FixtureRequest) -> Any:
    return FAMILIES[request.param]()


def plain(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def place_of(sought: str, text: str) -> tuple[int, int]:
    return text.index(sought), text.index(sought) + len(sought)


words = st.sampled_from(
    ["412-55", "SSN", " ", "  ", "(", "(http://a.example.org/)", ").", "naïve", "ñ", "the market", "\n", "x", "7", ", "]
)


@st.composite
def places(draw: st.DrawFn) -> tuple[str, int, int]:
    text = "".join(draw(st.lists(words, min_size=3, max_size=14)))
    start = draw(st.integers(0, max(0, len(text) - 1)))
    end = draw(st.integers(start + 1, len(text)))
    return text, start, end


@settings(max_examples=60, deadline=None)
@given(place=places())
def test_prompt_and_secret_have_the_tokens_of_the_text(place: tuple[str, int, int], any_tokenizer: Any) -> None:
    text, start, end = place
    whole = plain(any_tokenizer, text)
    if not text[start:end].strip() or any_tokenizer.unk_token_id in whole:
        return
    (cut,) = cuts(any_tokenizer, text, [(start, end)], context=200)
    assert (cut.begin, cut.end) == (0, end)
    assert cut.border <= start
    assert cut.until >= end
    target = cut.target(text)
    assert target.prompt + target.secret + target.after == text[: cut.until]
    if not plain(any_tokenizer, target.prompt) and any_tokenizer("x")["input_ids"][0] != any_tokenizer.bos_token_id:
        return  # refused by `tokenise`: nothing predicts it
    (tokens,) = tokenise(any_tokenizer, [target])
    own = [token for token in tokens.ids if token != any_tokenizer.bos_token_id]
    assert own == whole[: len(own)], "as in the text"
    assert tokens.secret_ids == tuple(own[len(own) - len(tokens.secret_ids) :])


@settings(max_examples=30, deadline=None)
@given(place=places(), context=st.integers(12, 30))
def test_a_prompt_that_is_cut_keeps_the_tokens_of_the_text(
    place: tuple[str, int, int], context: int, any_tokenizer: Any
) -> None:
    text, start, end = place
    text, start, end = TEXTS[2] + " " + text, start + len(TEXTS[2]) + 1, end + len(TEXTS[2]) + 1
    whole = plain(any_tokenizer, text)
    if not text[start:end].strip() or any_tokenizer.unk_token_id in whole:
        return
    (cut,) = cuts(any_tokenizer, text, [(start, end)], context=context)
    (uncut,) = tokenise(any_tokenizer, [Cut(begin=0, border=cut.border, end=end, until=cut.until).target(text)])
    if len(uncut.secret_ids) > context - 4:
        return
    (tokens,) = tokenise(any_tokenizer, [cut.target(text)])
    assert len(tokens.ids) <= context
    assert tokens.secret_ids == uncut.secret_ids
    best = longest(any_tokenizer, text[: cut.until], uncut, context)
    assert best is None or tuple(own_ids(any_tokenizer, cut.target(text))) == uncut.ids[len(uncut.ids) - best :]


def own_ids(tokenizer: Any, target: Target) -> list[int]:
    return plain(tokenizer, target.prompt + target.secret + target.after)


def longest(tokenizer: Any, text: str, uncut: TokenisedTarget, context: int) -> int | None:
    """By trying every beginning: the most tokens within the context that come out as in the text, prompt and secret."""
    opening = len(tokenizer("x")["input_ids"]) - len(plain(tokenizer, "x")) - (tokenizer("x")["input_ids"][-1] == 1)
    tried = tokenizer([text[begin:] for begin in range(len(text))], add_special_tokens=False)["input_ids"]
    alike = [
        len(ids)
        for ids in tried
        if len(uncut.secret_ids) < len(ids) <= context - opening
        and tuple(ids) == uncut.ids[len(uncut.ids) - len(ids) :]
    ]
    return max(alike, default=None)


def test_the_prompt_is_as_long_as_it_can_be(any_tokenizer: Any) -> None:
    text = " ".join([*TEXTS] * 3) + " SSN 412-55-9031"
    (cut,) = cuts(any_tokenizer, text, [place_of(" 412-55-9031", text)], context=40)
    whole = text.rindex("412-55-9031"), len(text)
    (cut,) = cuts(any_tokenizer, text, [whole], context=40)
    (tokens,) = tokenise(any_tokenizer, [cut.target(text)])
    assert 40 - 8 <= len(tokens.ids) <= 40, "up to the next word that begins alike"


BORDERS = [
    # text, occurrence, prompt, secret, after, why
    ("kept (412-55) on", "412-55", "kept (", "412-55", "", "a bracket is a token of its own here"),
    ("SSN 412-55, on", "412-55", "SSN", " 412-55", "", "the space in front belongs to the secret"),
    ("see (http://a.example.org/). No", "http://a.example.org/", "see (", "http://a.example.org/", ").", "one token"),
    ("on the market", "arket", "on the", " market", "", "the token across the border begins with its space"),
]


@pytest.mark.parametrize(("text", "occurrence", "prompt", "secret", "after", "why"), BORDERS)
@pytest.mark.parametrize("trim", [False, True])
def test_where_the_borders_fall(
    text: str, occurrence: str, prompt: str, secret: str, after: str, why: str, trim: bool
) -> None:
    tokenizer = wrapped(byte_level(trim=trim, prefix=False), bos=False, end=False)
    (cut,) = cuts(tokenizer, text, [place_of(occurrence, text)], context=50)
    assert cut.target(text) == Target(prompt=prompt, secret=secret, after=after), why


def test_an_answer_need_not_say_what_stands_behind_the_secret() -> None:
    from revs.evaluation.decoding import holds

    tokenizer = wrapped(byte_level(trim=False, prefix=False), bos=False, end=False)
    text, address = "see (http://a.example.org/). No", "http://a.example.org/"
    (cut,) = cuts(tokenizer, text, [place_of(address, text)], context=50)
    (tokens,) = tokenise(tokenizer, [cut.target(text)])
    assert tokenizer.decode(tokens.secret_ids) == address + ")."
    assert holds(tokenizer, tokens, address + " and")
    assert not holds(tokenizer, tokens, address[:-1])


@pytest.mark.parametrize("size", [0, 3000])
def test_a_long_text_is_cut_like_a_short_one(size: int, any_tokenizer: Any) -> None:
    """Only its neighbourhood is tokenised; words without spaces (more characters a token) make that wider."""
    middle = "-" * size
    text = " ".join([TEXTS[2]] * 60) + middle + " " + TEXTS[0] + " SSN 412-55-9031 and (http://a.example.org/). " * 3
    where = [place_of("412-55-9031 and", text), place_of("http://a.example.org/", text)]
    context = 16
    assert len(text) > 4 * 16 * context
    short = text[len(" ".join([TEXTS[2]] * 59)) + 1 :]
    moved = len(text) - len(short)
    found = cuts(any_tokenizer, text, where, context=context)
    expected = cuts(any_tokenizer, short, [(a - moved, b - moved) for a, b in where], context=10**6 // 64)
    for one, other in zip(found, expected, strict=True):
        assert (one.border, one.end, one.until) == (other.border + moved, other.end + moved, other.until + moved)
        (tokens,) = tokenise(any_tokenizer, [one.target(text)])
        (long,) = tokenise(any_tokenizer, [other.target(short)])
        assert tokens.secret_ids == long.secret_ids
        own = [token for token in tokens.ids if token != any_tokenizer.bos_token_id]
        assert tuple(own) == long.ids[len(long.ids) - len(own) :]
