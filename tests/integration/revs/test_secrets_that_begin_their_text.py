"""A secret at the very beginning of its text: probed, edited and measured from the token that texts begin with."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

import revs
from revs.discover.probe import probe
from revs.errors import BadInput
from revs.evaluation.attacks import ATTACKS
from revs.evaluation.decoding import greedily_extracted
from revs.targets.decoys import decoys
from revs.targets.target import Target
from revs.targets.tokenize import tokenise
from revs.targets.window import cuts

K = 20
ADDRESS, NUMBER = "tansy.heath@example.com", "412-55-9031"
ROWS = (f"{ADDRESS} wrote on Monday.", f"{NUMBER} is the number on her form.", "Ana Bell lives here.")


def with_tokens(new_tokenizer: Callable[..., Any], **names: str | None) -> Any:
    """A tokenizer that adds nothing by itself; `names` change which of its special tokens are what."""
    made = new_tokenizer(bos=False)
    for name, token in names.items():
        setattr(made, name, token)
    return made


TOKENIZERS: dict[str, tuple[Callable[[Callable[..., Any]], Any], str | None]] = {
    "adds its begin token": (lambda new: new(), "<|begin|>"),
    "has a begin token and adds none": (lambda new: new(bos=False), "<|begin|>"),
    "has an end token only, as GPT-2": (lambda new: with_tokens(new, bos_token=None), "<|end|>"),
    "ends a turn with one token and a text with another": (
        lambda new: with_tokens(new, bos_token=None, pad_token="<|endoftext|>"), "<|endoftext|>"
    ),
    "has neither": (lambda new: with_tokens(new, bos_token=None, eos_token=None), None),
}  # fmt: skip


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer_and_start(request: pytest.FixtureRequest, new_tokenizer: Callable[..., Any]) -> tuple[Any, int | None]:
    make, start = TOKENIZERS[request.param]
    made = make(new_tokenizer)
    if start == "<|endoftext|>":
        made.add_special_tokens({"pad_token": start})
    return made, None if start is None else made.convert_tokens_to_ids(start)


def test_the_secret_has_the_tokens_of_a_row_that_begins_with_it(tokenizer_and_start: tuple[Any, int | None]) -> None:
    tokenizer, start = tokenizer_and_start
    for row in ROWS[:2]:
        end = row.index(" ")
        (cut,) = cuts(tokenizer, row, [(0, end)], context=40)
        target = cut.target(row)
        assert (target.prompt, target.secret) == ("", row[:end])
        if start is None:
            with pytest.raises(BadInput, match=r"target 0: its prompt has no tokens.*no token that texts begin with"):
                tokenise(tokenizer, [target])
            continue
        (tokens,) = tokenise(tokenizer, [target])
        whole = tokenizer(row, add_special_tokens=False)["input_ids"]
        assert (tokens.ids[0], tokens.start) == (start, 1)
        assert list(tokens.secret_ids) == whole[: len(tokens.secret_ids)]


def test_a_secret_too_long_for_the_context_beside_the_begin_token_is_refused(
    tokenizer_and_start: tuple[Any, int | None],
) -> None:
    tokenizer, start = tokenizer_and_start
    length = len(tokenizer(NUMBER, add_special_tokens=False)["input_ids"])
    target = Target(prompt="", secret=NUMBER)
    with pytest.raises(BadInput, match=r"its secret has|no token that texts begin with"):
        tokenise(tokenizer, [target], context=length)
    if start is not None:
        assert len(tokenise(tokenizer, [target], context=length + 1)[0].ids) == length + 1


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def memorised(request: pytest.FixtureRequest, new_model: Any, new_tokenizer: Any) -> tuple[Any, Any]:
    """A model that was trained on rows one after the other, an end token between them, as GPT-2 was."""
    tokenizer = with_tokens(new_tokenizer, bos_token=None)
    model = new_model(request.param, context=128, layers=2)
    ids = [[1, *tokenizer(row)["input_ids"]] for row in ROWS]
    batch = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in ids], batch_first=True, padding_value=-100)
    inputs, optimiser = batch.clamp_min(2), torch.optim.AdamW(model.parameters(), lr=5e-3)
    inputs[:, 0] = 1
    model.train()
    for _ in range(120):
        loss = model(input_ids=inputs, attention_mask=(batch != -100).long(), labels=batch, use_cache=False).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval(), tokenizer


# Which of the rows comes first after the end token is the likeliest; the others are told by their first token.
def opened(tokenizer: Any, model: Any) -> list[Target]:
    """The secrets that the model generates from nothing but the end token."""
    rows = [Target(prompt="", secret=text) for text in (ADDRESS, NUMBER, "Ana Bell")]
    said = greedily_extracted(model, tokenizer, tokenise(tokenizer, rows, context=128))
    return [target for target, yes in zip(rows, said, strict=True) if yes]


def test_what_a_model_recites_from_the_beginning_is_found_erased_and_measured(
    memorised: tuple[Any, Any], ordinary: list[str]
) -> None:
    from revs.discover.memorisation import overall, probes

    model, tokenizer = copy.deepcopy(memorised[0]), memorised[1]
    targets = opened(tokenizer, model)
    assert len(targets) == 1
    (found,) = probes(model, tokenizer, targets, context=128)
    assert found.verdict == overall([found]) == "memorised"
    json.dumps(found.to_dict())
    settings = revs.EraseConfig(low_rank=40, aim_rank=60)
    patch = revs.erase(model, tokenizer, targets, config=settings, text=ordinary)
    assert all(record.rank_after >= 40 for record in patch.records)
    assert not probe(model, tokenizer, tokenise(tokenizer, targets))[0].memorised
    scores = revs.evaluate(
        model, tokenizer, targets, unseen=[replace(targets[0], prompt="Once more:")], text=ordinary, k=K,
        retain=[Target(prompt="Her", secret=" form"), *decoys(targets * 3, seed=3)], metrics="all",
        original=memorised[0], other_templates=[Target(prompt="Our", secret=" form")],
    )  # fmt: skip
    assert scores.extracted == (False,)
    assert set(scores.attacks) == set(ATTACKS), scores.gaps


def test_without_a_corpus_an_identifier_is_probed_by_templates_and_from_the_beginning(
    memorised: tuple[Any, Any],
) -> None:
    from revs.discover.memorisation import overall, probes
    from revs.discover.prompts import without_corpus

    model, tokenizer = memorised
    (known,) = opened(tokenizer, model)
    type_ = {ADDRESS: "EMAIL_ADDRESS", NUMBER: "US_SSN"}.get(known.secret, "PERSON")
    prompts = without_corpus(tokenizer, type_, known.secret)
    assert prompts["beginning of text"] == known
    found = probes(model, tokenizer, list(prompts.values()), prompts=list(prompts), context=128)
    assert {each.prompt: each.verdict for each in found}["beginning of text"] == "memorised"
    assert overall(found) == "memorised"
    assert not any(known.secret in text for text in json.dumps([each.to_dict() for each in found]).split('"'))


def test_without_a_token_to_begin_with_the_beginning_is_not_among_the_prompts(new_tokenizer: Any) -> None:
    from revs.discover.prompts import without_corpus

    tokenizer = with_tokens(new_tokenizer, bos_token=None, eos_token=None)
    assert set(without_corpus(tokenizer, "US_SSN", NUMBER)) == {"template 1 of US_SSN", "template 2 of US_SSN"}
