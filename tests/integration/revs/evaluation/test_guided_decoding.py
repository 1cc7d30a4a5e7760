"""Decoding that an old model guides: padded prompts are answered as one by one, and each token is read once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from families import EVERY_FAMILY

from revs.evaluation.attacks.difference import Guided
from revs.evaluation.decoding import answers
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, tokenise

CONTEXT = 64


@pytest.fixture(scope="module", params=EVERY_FAMILY)
def models(request: pytest.FixtureRequest, new_model: Any) -> tuple[Any, Any]:
    """The model before and after."""
    before, after = (new_model(request.param, layers=2, seed=seed) for seed in (0, 1))
    return before, after


def prompts_of_many_lengths(tokenizer: Any, people: list[Target]) -> list[TokenisedTarget]:
    return tokenise(tokenizer, [*people[:4], Target(prompt="SSN", secret=" 412-55-9031")], context=CONTEXT)


def alone(models: tuple[Any, Any], tokenizer: Any, tokens: TokenisedTarget, length: int) -> str:
    """One prompt, no padding, no cache, both models once a token."""
    ids = list(tokens.ids[: tokens.start])
    for _ in range(length):
        with torch.no_grad():
            old_V, new_V = (m(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].float() for m in models)
        ids.append(int((2 * old_V - new_V).argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    text: str = tokenizer.decode(ids[tokens.start :], skip_special_tokens=True)
    return text


def test_in_a_batch_every_family_answers_as_one_by_one(
    models: tuple[Any, Any], tokenizer: Any, people: list[Target]
) -> None:
    before, after = models
    tokens = prompts_of_many_lengths(tokenizer, people)
    assert len({each.start for each in tokens}) > 3
    together = answers(after, tokenizer, tokens, processor=lambda mask_BT: Guided(before, mask_BT))
    for each, (said,) in zip(tokens, together, strict=True):
        assert said.startswith(alone(models, tokenizer, each, len(each.secret_ids)))


def test_the_old_model_reads_each_token_once(models: tuple[Any, Any], tokenizer: Any, people: list[Target]) -> None:
    before, after = models
    tokens = prompts_of_many_lengths(tokenizer, people)
    read: list[int] = []
    embeddings = before.get_input_embeddings()
    handle = embeddings.register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0].shape[1]))
    answers(after, tokenizer, tokens, processor=lambda mask_BT: Guided(before, mask_BT))
    handle.remove()
    assert read == [max(each.start for each in tokens), *[1] * (len(read) - 1)]
