"""Prompt and secret as tokens: where the cut falls, which tokens are the rarest, what is refused."""

from __future__ import annotations

import traceback
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from revs.errors import BadInput
from revs.targets.rarity import count_tokens
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, collate, tokenise


def one(tokenizer: Any, prompt: str, secret: str, **options: Any) -> TokenisedTarget:
    (result,) = tokenise(tokenizer, [Target(prompt=prompt, secret=secret)], **options)
    return result


def texts(tokenizer: Any, target: TokenisedTarget) -> tuple[str, str]:
    return tokenizer.decode(target.ids[: target.start]), tokenizer.decode(target.secret_ids)


CUTS = [
    # prompt, secret, why
    ("file number", " 412-55", "a space in front belongs to the secret"),
    ("file number ", "412-55", "a space that is a token of its own stays where it stands"),
    ("mail <", "ana@example.org>", "a border of punctuation and letters is a border of tokens"),
    ("naïve café", " ñandú", "letters of several bytes are several tokens at one offset"),
    ("", "412", "with a begin token in front, even an empty prompt predicts the secret"),
]


@pytest.mark.parametrize(("prompt", "secret", "why"), CUTS, ids=[row[-1] for row in CUTS])
def test_the_cut(prompt: str, secret: str, why: str, tokenizer: Any) -> None:
    target = one(tokenizer, prompt, secret)
    assert texts(tokenizer, target) == ("<|begin|>" + prompt, secret), why
    assert target.ids == tuple(tokenizer(prompt + secret)["input_ids"]), "tokenised as one text, as the model saw it"


def test_a_token_across_the_border_belongs_to_the_secret(tokenizer: Any) -> None:
    word = max((token for token in tokenizer.get_vocab() if token.startswith("Ġ")), key=len).removeprefix("Ġ")
    assert len(word) > 2, "the tokenizer learnt at least one word with the space in front"
    target = one(tokenizer, f"call {word[:2]}", word[2:])
    assert texts(tokenizer, target) == ("<|begin|>call", f" {word}")


def test_tokens_without_a_begin_token_in_front(new_tokenizer: Any) -> None:
    bare = new_tokenizer(bos=False)
    assert texts(bare, one(bare, "SSN", " 412")) == ("SSN", " 412")


def test_an_end_token_is_no_part_of_the_secret(new_tokenizer: Any) -> None:
    closing = new_tokenizer(end=True)
    assert closing("x")["input_ids"][-1] == closing.eos_token_id
    assert texts(closing, one(closing, "SSN", " 412"))[1] == " 412"


@settings(max_examples=80, deadline=None)
@given(prompt=st.text(max_size=12), secret=st.text(min_size=1, max_size=12).filter(lambda text: bool(text.strip())))
def test_no_text_of_the_secret_is_left_in_the_prompt(prompt: str, secret: str, tokenizer: Any) -> None:
    target = one(tokenizer, prompt, secret)
    kept = tokenizer(prompt + secret, return_offsets_mapping=True)["offset_mapping"][: target.start]
    assert max(end for _, end in kept) <= len(prompt)
    assert 0 < len(target.chosen) <= 2
    assert set(target.chosen) <= set(range(len(target.secret_ids)))


@pytest.mark.parametrize("context", [8, 12, 20])
def test_a_long_prompt_is_shortened_from_the_left_and_keeps_its_begin_token(context: int, tokenizer: Any) -> None:
    prompt = " ".join(f"word{i}" for i in range(40))
    whole, short = one(tokenizer, prompt, " 41-2"), one(tokenizer, prompt, " 41-2", context=context)
    assert len(short.ids) == context
    assert short.ids[0] == tokenizer.bos_token_id
    assert short.ids[1:] == whole.ids[-(context - 1) :]
    assert (short.secret_ids, short.chosen) == (whole.secret_ids, whole.chosen)


def test_a_prompt_may_shrink_to_its_begin_token_but_the_secret_is_never_cut(tokenizer: Any) -> None:
    length = len(one(tokenizer, "SSN of Ana", " 412-55").secret_ids)
    assert one(tokenizer, "SSN of Ana", " 412-55", context=length + 1).start == 1
    with pytest.raises(BadInput, match=rf"target 0: its secret has {length} tokens, but the context holds {length}"):
        one(tokenizer, "SSN of Ana", " 412-55", context=length)


def test_without_counts_the_rarest_tokens_are_those_with_the_largest_ids(tokenizer: Any) -> None:
    target = one(tokenizer, "Write", " ana.bell the market", tokens_per_secret=3)
    letters = [
        (token, place)
        for place, token in enumerate(target.secret_ids)
        if any(character.isalnum() for character in tokenizer.decode([token]))
    ]
    assert letters[0][1] == 0
    assert target.chosen == tuple(sorted(place for _, place in sorted(letters[1:], reverse=True)[:3]))


def test_the_first_token_of_a_secret_comes_after_the_others(tokenizer: Any) -> None:
    """What predicts it has seen nothing but the prompt, which other people's records share."""
    counts_V = torch.full((len(tokenizer),), 50)
    counts_V[tokenizer.convert_tokens_to_ids("q")] = 0
    chosen = [
        one(tokenizer, "#", "q-z", token_counts_V=counts_V, tokens_per_secret=tokens).chosen for tokens in (1, 2, 3)
    ]
    assert chosen == [(2,), (0, 2), (0, 2)]


def test_with_counts_the_rarest_tokens_are_those_with_the_smallest(tokenizer: Any) -> None:
    ids = one(tokenizer, "SSN", " 412").secret_ids
    counts_V = torch.full((len(tokenizer),), 50)
    counts_V[ids[-1]], counts_V[ids[-2]] = 3, 7
    target = one(tokenizer, "SSN", " 412", token_counts_V=counts_V, tokens_per_secret=1)
    assert target.chosen == (len(ids) - 1,)
    counts_V[ids[-2]] = 1
    assert one(tokenizer, "SSN", " 412", token_counts_V=counts_V, tokens_per_secret=1).chosen == (len(ids) - 2,)


def test_separators_are_not_taken_even_when_they_are_the_rarest(tokenizer: Any) -> None:
    counts_V = torch.full((len(tokenizer),), 50)
    counts_V[tokenizer.convert_tokens_to_ids("-")] = 0
    for tokens in (1, 2, 9, None):
        target = one(tokenizer, "SSN", " 4-5", token_counts_V=counts_V, tokens_per_secret=tokens)
        assert "-" not in {tokenizer.decode([target.secret_ids[place]]) for place in target.chosen}


def test_without_a_number_every_token_but_separators_is_taken(tokenizer: Any) -> None:
    target = one(tokenizer, "SSN", " 4-5", tokens_per_secret=None)
    letters = [place for place, token in enumerate(target.secret_ids) if tokenizer.decode([token]).strip(" -")]
    assert list(target.chosen) == letters


def test_a_secret_of_separators_only_still_gets_its_tokens(tokenizer: Any) -> None:
    assert len(one(tokenizer, "code", " -+-").chosen) == 2


def test_a_secret_shorter_than_the_number_of_tokens_gives_all_it_has(tokenizer: Any) -> None:
    assert one(tokenizer, "digit: ", "67", tokens_per_secret=9).chosen == (0, 1)


def test_counts_over_the_corpus_leave_out_special_tokens(tokenizer: Any) -> None:
    counts_V = count_tokens(tokenizer, ["-", "-", "--x"], batch=2)
    assert counts_V[tokenizer.bos_token_id] == 0
    assert counts_V[tokenizer.convert_tokens_to_ids("x")] == 1
    assert counts_V.shape == (len(tokenizer),)


def test_tokens_that_other_secrets_share_come_last(tokenizer: Any) -> None:
    corpus = ["q"] * 90 + ["z"]  # z is rarer in the text …
    alone = count_tokens(tokenizer, corpus)
    shared = count_tokens(tokenizer, corpus, secrets=["qz", "az", "bz", "qz"])  # … but three secrets hold it
    q, z = (tokenizer.convert_tokens_to_ids(letter) for letter in "qz")
    assert alone[z] < alone[q]
    assert shared[z] > shared[q]
    assert tokenizer.decode(one(tokenizer, "#", "xqz", token_counts_V=alone, tokens_per_secret=1).secret_ids) == "xqz"
    assert one(tokenizer, "#", "xqz", token_counts_V=alone, tokens_per_secret=1).chosen == (2,)
    assert one(tokenizer, "#", "xqz", token_counts_V=shared, tokens_per_secret=1).chosen == (1,)


def test_a_token_twice_in_one_secret_is_not_shared(tokenizer: Any) -> None:
    once, twice = (count_tokens(tokenizer, ["a"], secrets=[text]) for text in ("q", "qq"))
    assert torch.equal(once, twice)


REFUSED = [
    # prompt, secret, part of the message
    ("SSN", "", "its secret is empty"),
    ("SSN", "   ", "its secret is empty"),
    ("SSN", " 41<|end|>2", "holds a special token"),
    ("SSN", "<|begin|>", "holds a special token"),
]


@pytest.mark.parametrize(("prompt", "secret", "message"), REFUSED)
def test_what_is_refused(prompt: str, secret: str, message: str, tokenizer: Any) -> None:
    good = Target(prompt="SSN", secret=" 9")
    with pytest.raises(BadInput, match=f"target 1: .*{message}"):
        tokenise(tokenizer, [good, Target(prompt=prompt, secret=secret)])


def test_no_targets_give_no_tokens(tokenizer: Any) -> None:
    assert tokenise(tokenizer, []) == []


def test_neither_text_nor_tokens_show_in_a_repr_or_a_traceback(tokenizer: Any) -> None:
    target = Target(prompt="Ana Bell has SSN", secret=" 412-55-9031")
    tokens = one(tokenizer, target.prompt, target.secret)
    shown = f"{target!r} {[target]} {target!s} {tokens!r}"
    assert "Ana" not in shown
    assert "412" not in shown
    assert str(tokens.ids[3]) not in repr(tokens).replace(str(tokens.start), "").replace(str(tokens.chosen), "")
    try:
        one(tokenizer, target.prompt, target.secret, context=3)
    except BadInput as error:
        assert "412" not in "".join(traceback.format_exception_only(error))


def test_the_target_of_an_occurrence_takes_the_space_in_front_of_it() -> None:
    text = "SSN  412-55 on file"
    start = text.index("412")
    assert Target.at(text, start, start + 6) == Target(prompt="SSN", secret="  412-55")
    assert Target.at("<412>", 1, 4) == Target(prompt="<", secret="412")


def test_a_batch_points_at_the_position_that_predicts_each_token(tokenizer: Any) -> None:
    pair = tokenise(tokenizer, [Target(prompt="SSN", secret=" 412"), Target(prompt="A longer prompt", secret=" 55")])
    batch = collate(pair, pad=2, first=7)
    assert batch.mask_BT.sum(1).tolist() == [len(target.ids) for target in pair]
    assert set(batch.ids_BT[batch.mask_BT == 0].tolist()) <= {2}
    assert batch.target_N.unique().tolist() == [7, 8]
    assert torch.equal(batch.ids_BT[batch.row_N, batch.position_N + 1], batch.token_N)
    for row, target in enumerate(pair):
        mine = batch.row_N == row
        assert tuple(batch.token_N[mine].tolist()) == target.secret_ids
        assert tuple(batch.chosen_N[mine].nonzero().flatten().tolist()) == target.chosen
