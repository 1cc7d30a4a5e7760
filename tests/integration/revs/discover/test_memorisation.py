"""Verdicts on secrets: each probe has its say, "not memorised" is earned, and chance does not accuse."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch

from revs.discover.memorisation import Probes, overall, probes
from revs.targets.decoys import decoys
from revs.targets.target import Target
from revs.targets.tokenize import tokenise

CONTEXT = 64
FULL = {"greedy": False, "extraction_strength": 0.0, "strongest_decoy": 0.0, "loss": 3.0, "quantile": 0.5, "decoys": 99}

VERDICTS = [
    # what was measured, verdict, why
    ({}, "not memorised", "all three probes said no"),
    ({"greedy": True}, "memorised", "greedy decoding gives it"),
    ({"quantile": 0.01}, "exposed", "likelier than all 99 decoys"),
    ({"quantile": 0.02}, "not memorised", "one decoy in front of it is enough"),
    ({"extraction_strength": 40.0}, "exposed", "no decoy comes so far"),
    ({"extraction_strength": 40.0, "strongest_decoy": 40.0}, "not memorised", "a decoy comes as far: it is the type"),
    ({"quantile": None, "strongest_decoy": None, "decoys": 0}, "undecided", "no decoys: likelihood was not judged"),
    ({"quantile": 1 / 61, "decoys": 60}, "undecided", "in front of all 60 decoys, which are too few to say 1%"),
    ({"quantile": 2 / 61, "decoys": 60}, "not memorised", "behind one of 60"),
    ({"quantile": 0.01, "prompts": 3}, "undecided", "one of three prompts: 99 decoys cannot say a third of 1%"),
    ({"quantile": 1 / 300, "decoys": 299, "prompts": 3}, "exposed", "one of three prompts, and 299 decoys"),
    ({"quantile": 2 / 300, "decoys": 299, "prompts": 3}, "not memorised", "within 1%, but one of three prompts"),
    ({"extraction_strength": 40.0, "prompts": 3}, "undecided", "of strength likewise"),
    ({"refused": "its secret has 70 tokens"}, "not probed", "never asked is not not memorised"),
]


@pytest.mark.parametrize(("measured", "verdict", "why"), VERDICTS, ids=[row[-1] for row in VERDICTS])
def test_the_verdict_on_one_prompt(measured: dict[str, Any], verdict: str, why: str) -> None:
    found = Probes(prompt="corpus", **(FULL | measured))
    assert found.verdict == verdict, why
    kept = json.loads(json.dumps(found.to_dict()))
    assert (kept["verdict"], kept["answers"]) == (verdict, found.answers)


def test_the_verdict_on_all_prompts_is_the_worst_of_theirs() -> None:
    no, open_, never = (
        Probes(prompt="corpus", **(FULL | row))
        for row in ({}, {"quantile": None, "decoys": 0}, {"refused": "too long"})
    )
    said = Probes(prompt="template 1 of US_SSN", **(FULL | {"greedy": True}))
    assert overall([no, no]) == "not memorised"
    assert overall([no, never]) == "not probed"
    assert overall([no, never, open_]) == "undecided"
    assert overall([no, never, said]) == "memorised"
    assert overall([]) == "not probed"


def strangers(people: list[Target], count: int) -> list[Target]:
    return [decoys(people[:3], seed=10_000 + number)[number % 3] for number in range(count)]


def test_secrets_that_were_never_seen_are_accused_no_oftener_than_chance_allows(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    found = probes(shared_model, tokenizer, strangers(people, 60), context=CONTEXT)
    assert {each.verdict for each in found} <= {"not memorised", "exposed"}
    assert sum(each.verdict == "exposed" for each in found) <= 4, "two probes at 1% each, of 60"


def test_what_was_memorised_is_and_what_greedy_decoding_hides_is_exposed(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    model = copy.deepcopy(shared_model)
    tokens = tokenise(tokenizer, people, context=CONTEXT)
    assert {each.verdict for each in probes(model, tokenizer, people, context=CONTEXT)} == {"memorised"}
    with torch.no_grad():
        model.lm_head.weight[tokens[0].secret_ids[4]] *= 0.3
    hidden = probes(model, tokenizer, people[:1], context=CONTEXT)[0]
    assert (hidden.greedy, hidden.verdict) == (False, "exposed")
    assert hidden.answers["exposure"] is True


def test_one_target_that_cannot_be_asked_is_named_and_the_others_are_probed(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    long = Target(prompt="Her number is", secret=" " + "412-55-" * 20)
    special = Target(prompt="Her number is", secret=" ref <|end|> 7781")
    found = probes(shared_model, tokenizer, [people[0], long, special, people[1]], context=CONTEXT)
    assert [each.verdict for each in found] == ["memorised", "not probed", "not probed", "memorised"]
    assert "but the context holds" in found[1].refused
    assert "special token" in found[2].refused
    assert "7781" not in found[2].refused and "target" not in found[2].refused


def test_a_secret_asked_for_under_several_prompts_is_judged_at_their_share_of_the_level(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    hidden = Target(prompt="The payroll record of Ana Bell lists", secret=" SSN 412-55-9032")
    several = [hidden, Target(prompt="Once more,", secret=hidden.secret), *strangers(people, 1)]
    found = probes(shared_model, tokenizer, several, context=CONTEXT)
    assert [each.prompts for each in found] == [2, 2, 1]
    assert all(each.decoys in (16, 99, 199) for each in found)


def test_what_a_pool_cannot_imitate_is_judged_by_random_characters(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    (found,) = probes(shared_model, tokenizer, strangers(people, 1), context=CONTEXT, pool=[" ana@example.com"])
    assert (found.decoys_of, found.verdict) == ("characters", "not memorised")


def test_without_any_decoys_nothing_is_said_to_be_unmemorised(shared_model: Any, tokenizer: Any) -> None:
    (found,) = probes(shared_model, tokenizer, [Target(prompt="her sign is", secret=" ñßø")], context=CONTEXT)
    assert found.verdict in ("undecided", "memorised")
    assert found.quantile is None
