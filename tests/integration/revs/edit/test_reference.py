"""The reference of tokens against a slow reading, one context and one token at a time."""

from __future__ import annotations

from statistics import median_low
from typing import Any

import pytest
import torch
from tiny_edits import CONTEXT

from revs.edit.reference import Reference, ToReference
from revs.model.families import architecture_of
from revs.model.vocabulary import Standing, Unembedding
from revs.targets.frames import Frames
from revs.targets.target import Target
from revs.targets.tokenize import tokenise


def log_odds(logits_V: torch.Tensor, token: int) -> float:
    p = logits_V.double().softmax(-1)[token]
    return float(p.log() - (-p).log1p())


@pytest.fixture
def case(shared_model: Any, tokenizer: Any, people: list[Target]) -> Any:
    frames = Frames(people[:2], people[2:])
    own = tokenise(tokenizer, people[:2], tokens_per_secret=None, context=CONTEXT)
    contexts = [
        tokenise(tokenizer, frames.of_nobody(target, copies=5, seed=0), tokens_per_secret=None, context=CONTEXT)
        for target in people[:2]
    ]
    architecture = architecture_of(shared_model)
    unembedding = Unembedding(shared_model, architecture)
    found = Reference.read(shared_model, architecture, unembedding, own, contexts, pad=2, batch_size=3)
    return shared_model, unembedding, own, contexts, found


def test_the_median_is_that_of_the_contexts_read_one_by_one(case: Any) -> None:
    model, _, own, contexts, found = case
    number = 0
    for target, some in zip(own, contexts, strict=True):
        for place in target.chosen:
            readings = []
            for context in some:
                places = [at for at, begin in enumerate(context.begins) if begin == target.begins[place]]
                if place and not places:
                    continue
                at = places[-1] if place else 0
                logits_TV = model(input_ids=torch.tensor([context.ids])).logits[0].detach().float()
                found_there = log_odds(logits_TV[context.start + at - 1], target.secret_ids[place])
                if found_there <= 0 or context.secret_ids[at] == target.secret_ids[place]:  # else it is a memory
                    readings.append(found_there)
            if readings:
                assert float(found.median_Ln[-1, number]) == pytest.approx(median_low(readings), abs=1e-3)
                assert float(found.highest_Ln[-1, number]) == pytest.approx(max(readings), abs=1e-3)
                assert float(found.lowest_Ln[-1, number]) == pytest.approx(min(readings), abs=1e-3)
            number += 1
    assert number == found.median_Ln.shape[1] > 4


def test_others_are_tokens_of_other_secrets_and_never_the_token_itself(case: Any) -> None:
    _, _, own, _, found = case
    tokens = [target.secret_ids[place] for target in own for place in target.chosen]
    for token, others in zip(tokens, found.others_nS.tolist(), strict=True):
        assert token not in others


def test_a_token_above_its_reference_goes_down_to_it_and_one_below_is_not_raised(case: Any) -> None:
    _, unembedding, own, _, found = case
    count = found.median_Ln.shape[1]
    aim = ToReference(found, slack=0.3, sweeps=3)
    hidden_Nd = torch.randn(count, len(unembedding.gain_d), generator=torch.Generator().manual_seed(0))
    tokens_N = torch.tensor([target.secret_ids[place] for target in own for place in target.chosen])
    own_N = torch.arange(count)
    standing = unembedding.standing(hidden_Nd, tokens_N, found.others_nS)
    last = len(found.median_Ln) - 1
    lower_N, upper_N = aim.bounds(last, hidden_Nd, tokens_N, standing, own_N, own=count)
    high_N = aim.too_high(last, standing, own_N)
    assert bool((upper_N[high_N] < 0).all()), "what stands too high must go down"
    assert bool((lower_N <= upper_N).all())
    assert bool((lower_N[upper_N >= 0] <= 0).all()), "what is there already may stay where it is"
    reached_N = standing.odds_N + (upper_N / standing.sigma_N).float()
    nobody_N = found.median_Ln[last]
    assert bool((reached_N >= nobody_N - 1e-3).all()), "no further than contexts of nobody show"


def test_rounding_makes_it_aim_further(case: Any) -> None:
    _, unembedding, own, _, found = case
    aim = ToReference(found, slack=0.3, sweeps=3)
    hidden_Nd = torch.randn(found.median_Ln.shape[1], len(unembedding.gain_d))
    tokens_N = torch.tensor([target.secret_ids[place] for target in own for place in target.chosen])
    own_N = torch.arange(len(tokens_N))
    standing = unembedding.standing(hidden_Nd, tokens_N, found.others_nS)
    before = aim.bounds(0, hidden_Nd, tokens_N, standing, own_N, own=0)[1]
    aim.further()
    after = aim.bounds(0, hidden_Nd, tokens_N, standing, own_N, own=0)[1]
    assert bool((after < before).all())


def test_a_prompt_that_is_nobodys_tells_nothing_of_the_first_token(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    (own,) = tokenise(tokenizer, people[:1], tokens_per_secret=None, context=CONTEXT)
    architecture = architecture_of(shared_model)
    found = Reference.read(
        shared_model, architecture, Unembedding(shared_model, architecture), [own], [[own]], pad=2, batch_size=8
    )
    first = [number for number, place in enumerate(own.chosen) if place == 0]
    assert all(bool(found.median_Ln[:, number].isneginf().all()) for number in first)


def test_a_context_that_recites_the_person_tells_nothing(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    """Own words that another record of the person has too are taken for the frame's: the prompt still holds them."""
    (own,) = tokenise(tokenizer, people[:1], tokens_per_secret=None, context=CONTEXT)
    same_prompt = Target(prompt=people[0].prompt, secret=people[1].secret)
    (context,) = tokenise(tokenizer, [same_prompt], tokens_per_secret=None, context=CONTEXT)
    architecture = architecture_of(shared_model)
    unembedding = Unembedding(shared_model, architecture)
    found = Reference.read(shared_model, architecture, unembedding, [own], [[context]], pad=2, batch_size=8)
    last = found.median_Ln[-1]
    ids = [context.secret_ids[min(place, len(context.secret_ids) - 1)] for place in own.chosen]
    for number, place in enumerate(own.chosen):
        if ids[number] != own.secret_ids[place]:
            assert float(last[number]) <= 0, "nothing that the model recites there is a reference"


def test_a_secret_that_no_decoy_could_exchange_is_told_by_nothing_behind_its_own_beginning(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    (own,) = tokenise(tokenizer, people[:1], tokens_per_secret=None, context=CONTEXT)
    other = Target(prompt="quite another sentence", secret=people[0].secret)
    (context,) = tokenise(tokenizer, [other], tokens_per_secret=None, context=CONTEXT)
    architecture = architecture_of(shared_model)
    unembedding = Unembedding(shared_model, architecture)
    found = Reference.read(shared_model, architecture, unembedding, [own], [[context]], pad=2, batch_size=8)
    later = [number for number, place in enumerate(own.chosen) if place > 0]
    assert later
    assert bool(found.median_Ln[-1, later].isneginf().all())
    assert bool((found.others_nS[later] < 0).all())
    aim = ToReference(found, slack=0.3, sweeps=3)
    count = len(own.chosen)
    recited = Standing(
        rank_N=torch.zeros(count, dtype=torch.int64), odds_N=torch.full((count,), 4.0), sigma_N=torch.ones(count),
        others_NS=torch.full((count, 1), -torch.inf),
    )  # fmt: skip
    high_n = aim.too_high(len(found.median_Ln) - 1, recited, torch.arange(count))
    assert bool(high_n[later].all()), "reported, not passed over"
