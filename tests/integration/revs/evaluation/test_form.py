"""The form of secrets against a slow reading, one target and one token at a time."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

import revs
from revs.evaluation.context import Examination
from revs.evaluation.metrics import value_of
from revs.targets.target import Target
from revs.targets.tokenize import tokenise


def kind(text: str) -> str:
    text = text.strip()
    return "digits" if text.isdigit() else "letters" if text.isalpha() else "neither"


def slow_form(model: Any, tokenizer: Any, targets: list[Target]) -> float:
    kinds = [kind(tokenizer.decode([token])) for token in range(len(tokenizer))]
    found = []
    for target in tokenise(tokenizer, targets):
        logits_TV = model(input_ids=torch.tensor([target.ids])).logits[0].detach()
        for place, token in enumerate(target.secret_ids):
            if kinds[token] != "neither":
                p_V = logits_TV[target.start + place - 1].float().softmax(-1)
                found.append(sum(float(p) for p, other in zip(p_V, kinds, strict=True) if other == kinds[token]))
    return 100 * sum(found) / len(found)


@pytest.mark.parametrize("batch_size", [1, 64])
def test_it_is_the_mean_probability_of_tokens_of_the_secrets_kind(
    batch_size: int, shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    examination = Examination(
        model=shared_model, tokenizer=tokenizer, targets=people[:3], unseen=people[3:], batch_size=batch_size
    )
    for name, targets in (("form", people[:3]), ("form_unseen", people[3:])):
        assert value_of(examination, name) == pytest.approx(slow_form(shared_model, tokenizer, targets), abs=1e-3)


def test_it_falls_where_no_number_can_stand_any_more(shared_model: Any, tokenizer: Any, people: list[Target]) -> None:
    """The model's digits are taken away altogether: no comparison with decoys would tell."""
    model = copy.deepcopy(shared_model)
    digits = [token for token in range(len(tokenizer)) if kind(tokenizer.decode([token])) == "digits"]
    head = model.get_output_embeddings()
    head.bias = torch.nn.Parameter(torch.zeros(head.out_features) if head.bias is None else head.bias.detach().clone())
    with torch.no_grad():
        head.bias[digits] -= 30.0
    before, after = (revs.evaluate(each, tokenizer, people, metrics=["form"]).form for each in (shared_model, model))
    assert before is not None and after is not None
    assert before > 80 and after < before / 2


def test_without_digits_and_letters_there_is_a_gap(shared_model: Any, tokenizer: Any) -> None:
    scores = revs.evaluate(shared_model, tokenizer, [Target(prompt="The sign is", secret=" -.-")], metrics=["form"])
    assert scores.form is None
    assert scores.gaps["form"] == "no secret has a token of digits or of letters"
