"""Probing against the obvious way: one prompt at a time, `model.generate` or one plain pass."""

from __future__ import annotations

import copy
import itertools
import math
import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from families import EVERY_FAMILY

from revs.discover.exposure import DECOYS, EXPOSED, decoy_places
from revs.discover.probe import probe
from revs.errors import BadInput
from revs.evaluation.decoding import holds
from revs.evaluation.teacher_forcing import teacher_forced
from revs.targets.decoys import decoys
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, tokenise

CONTEXT = 64


@pytest.fixture(scope="module", params=EVERY_FAMILY)
def any_model(request: pytest.FixtureRequest, new_model: Any) -> Any:
    return new_model(request.param, layers=2)


def strange(people: list[Target]) -> list[Target]:
    """Never seen, and with prompts of many lengths."""
    strangers = [Target(prompt=target.prompt, secret=" 999-00-1234") for target in people[:2]]
    return strangers + [
        Target(prompt="Once more and once more. " * number + target.prompt, secret=target.secret)
        for number, target in enumerate(people[:4])
    ]


def own_words(model: Any, tokenizer: Any, tokens: TokenisedTarget) -> list[TokenisedTarget]:
    """The same prompt with what the model itself says as the secret, where that is text: memorised without training."""
    ids = list(tokens.ids[: tokens.start])
    with torch.no_grad():
        for _ in range(8):
            ids.append(int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    texts = {length: tokenizer.decode(ids[tokens.start : tokens.start + length]) for length in range(8, 0, -1)}
    whole = (n for n, text in texts.items() if text.strip() and text.isascii() and min(ids[tokens.start :][:n]) > 2)
    return [replace(tokens, ids=tuple(ids[: tokens.start + n]), chosen=(0,)) for n in itertools.islice(whole, 1)]


def asked(model: Any, tokenizer: Any, people: list[Target]) -> list[TokenisedTarget]:
    """What the model says, the same with another token in it or in part given, and what it has never seen."""
    prompts = tokenise(tokenizer, people[:5], context=CONTEXT)
    known = [own for each in prompts for own in own_words(model, tokenizer, each)]
    other = [replace(each, ids=(*each.ids[:-2], 77, each.ids[-1])) for each in known if len(each.secret_ids) > 2]
    given = [replace(each, start=each.start + 1) for each in known[:4] if len(each.secret_ids) > 1]
    return [*known, *other, *given, *tokenise(tokenizer, strange(people), context=CONTEXT)]


def generated(model: Any, tokenizer: Any, tokens: TokenisedTarget) -> bool:
    """One `generate` for one prompt."""
    out = model.generate(
        input_ids=torch.tensor([tokens.ids[: tokens.start]]), do_sample=False, pad_token_id=2,
        max_new_tokens=min(len(tokens.secret_ids) + 4, CONTEXT - tokens.start),
    )  # fmt: skip
    return holds(tokenizer, tokens, tokenizer.decode(out[0, tokens.start :], skip_special_tokens=True))


def alone(model: Any, tokens: TokenisedTarget) -> tuple[float, float]:
    """Extraction strength and loss from a plain pass over one secret."""
    with torch.no_grad():
        log_TV = model(input_ids=torch.tensor([tokens.ids]), use_cache=False).logits[0].double().log_softmax(-1)
    rows = [log_TV[tokens.start + place - 1] for place in range(len(tokens.secret_ids))]
    follows = 0
    for row, token in list(zip(rows, tokens.secret_ids, strict=True))[::-1]:
        if int(row.argmax()) != token:
            break
        follows += 1
    loss = -sum(float(row[token]) for row, token in zip(rows, tokens.secret_ids, strict=True)) / len(rows)
    return 100 * follows / len(rows), loss


def test_every_family_is_probed_as_if_prompt_by_prompt_in_any_order_and_company(
    any_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    tokens = asked(any_model, tokenizer, people)
    said = [generated(any_model, tokenizer, each) for each in tokens]
    assert sum(said) >= 2 and not all(said)
    together = probe(any_model, tokenizer, tokens)
    assert [each.memorised for each in together] == said
    for each, target in zip(together, tokens, strict=True):
        strength, loss = alone(any_model, target)
        assert each.extraction_strength == pytest.approx(strength)
        assert each.loss == pytest.approx(loss, rel=1e-3, abs=1e-4)
    order = random.Random(1).sample(range(len(tokens)), len(tokens))
    shuffled = probe(any_model, tokenizer, [tokens[place] for place in order], batch_size=5)
    for place, each in zip(order, shuffled, strict=True):
        assert (each.memorised, each.extraction_strength) == (said[place], together[place].extraction_strength)
        assert each.loss == pytest.approx(together[place].loss, rel=1e-3, abs=1e-4)


def test_a_secret_said_in_other_tokens_is_memorised(model: Any, tokenizer: Any, people: list[Target]) -> None:
    """The secret is given letter by letter; the model says it in its own tokens."""
    tokens = tokenise(tokenizer, people, context=CONTEXT)
    spelled = [
        TokenisedTarget(
            ids=(*each.ids[: each.start], *letters(tokenizer, tokenizer.decode(each.secret_ids))), start=each.start,
            chosen=(1,),
        )
        for each in tokens
    ]  # fmt: skip
    assert any(a.ids != b.ids for a, b in zip(tokens, spelled, strict=True))
    found = probe(model, tokenizer, spelled)
    assert [each.memorised for each in found] == [generated(model, tokenizer, each) for each in spelled]
    assert all(each.memorised for each in found)
    assert min(each.extraction_strength for each in found) < 100


def letters(tokenizer: Any, text: str) -> list[int]:
    return [token for letter in text for token in tokenizer(letter, add_special_tokens=False)["input_ids"]]


def test_a_tie_is_decided_alone_and_as_decoding_decides_it(model: Any, tokenizer: Any, people: list[Target]) -> None:
    """Two rows of the unembedding are the same: which token comes first is a matter of summation."""
    tokens = tokenise(tokenizer, people, context=CONTEXT)
    with torch.no_grad():
        for weight in model.lm_head.parameters():
            weight[tokens[0].secret_ids[1]] = weight[tokens[1].secret_ids[1]]
    forced = teacher_forced(model, tokens, pad=2)
    assert any(each.close for each in forced) and not all(each.close for each in forced)
    said = [generated(model, tokenizer, each) for each in tokens]
    for batch_size in (1, 3, 64):
        assert [each.memorised for each in probe(model, tokenizer, tokens, batch_size=batch_size)] == said


def test_a_broken_model_is_refused(model: Any, tokenizer: Any, people: list[Target]) -> None:
    tokens = tokenise(tokenizer, people, context=CONTEXT)
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    with pytest.raises(BadInput, match="NaN or infinite"):
        probe(model, tokenizer, tokens)


def test_no_targets_have_no_probes(shared_model: Any, tokenizer: Any) -> None:
    assert probe(shared_model, tokenizer, []) == []


def nll_alone(model: Any, tokens: TokenisedTarget) -> float:
    return alone(model, tokens)[1] * len(tokens.secret_ids)


def quantiles(*arguments: Any, **options: Any) -> list[float | None]:
    return [place and place.quantile for place in decoy_places(*arguments, **options)]


def test_the_decoy_quantile_is_the_place_among_decoys_scored_one_by_one(
    any_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    targets = [people[0], Target(prompt=people[2].prompt, secret=" 999-00-1234"), Target(prompt="", secret="900-1")]
    tokens = tokenise(tokenizer, targets, context=CONTEXT)
    got = quantiles(any_model, tokenizer, targets, tokens, count=9, seed=5)
    for place, target in enumerate(targets):
        drawn = [decoys([target], seed=5 + number)[0] for number in range(9)]
        encoded = tokenise(tokenizer, drawn, context=CONTEXT)
        others = [nll_alone(any_model, e) / len(d.secret) for e, d in zip(encoded, drawn, strict=True)]
        own = nll_alone(any_model, tokens[place]) / len(target.secret)
        assert got[place] == (sum(other <= own for other in others) + 1) / 10, target.secret


def test_what_was_memorised_is_exposed_and_what_was_never_seen_is_not(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    strangers = [
        Target(prompt=target.prompt, secret=secret)
        for target, secret in zip(people[:3], (" 904-17-5582", " 835-40-2967", " 650-93-1148"), strict=True)
    ]
    targets = [*people[:3], *strangers]
    tokens = tokenise(tokenizer, targets, context=CONTEXT)
    found = quantiles(shared_model, tokenizer, targets, tokens, count=DECOYS)
    assert [each is not None and each <= EXPOSED for each in found] == [True] * 3 + [False] * 3


def test_a_secret_that_greedy_decoding_no_longer_gives_may_still_be_exposed(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    """One token of the unembedding is turned down: greedy decoding says another number, likelihood still knows."""
    model = copy.deepcopy(shared_model)
    tokens = tokenise(tokenizer, people, context=CONTEXT)
    with torch.no_grad():
        for each in tokens[:1]:
            model.lm_head.weight[each.secret_ids[4]] *= 0.3
    first = probe(model, tokenizer, tokens)[0]
    assert not first.memorised
    (quantile,) = quantiles(model, tokenizer, people[:1], tokens[:1])
    assert quantile is not None and quantile <= EXPOSED


def test_a_secret_that_decoys_cannot_imitate_has_no_place(shared_model: Any, tokenizer: Any) -> None:
    targets = [Target(prompt="her sign is", secret=" ñßø")]
    tokens = tokenise(tokenizer, targets, context=CONTEXT)
    assert quantiles(shared_model, tokenizer, targets, tokens, count=9) == [None]


def test_at_least_one_decoy_is_needed(shared_model: Any, tokenizer: Any, people: list[Target]) -> None:
    with pytest.raises(BadInput, match="0 decoys place nothing"):
        quantiles(shared_model, tokenizer, people, tokenise(tokenizer, people), count=0)


def test_decoys_from_a_pool_share_what_every_secret_of_the_type_has(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    targets = [Target(prompt="Her address is", secret=" kalu55@example.com")]
    tokens = tokenise(tokenizer, targets, context=CONTEXT)
    pool = [f" {name}{number}@example.{end}" for name in ("abo", "umi", "ilse") for number in (31, 42, 64, 75, 86)
            for end in ("com", "org")]  # fmt: skip
    (found,) = quantiles(shared_model, tokenizer, targets, tokens, pool=pool, count=20)
    assert found is not None and 0 < found <= 1
    for useless in ([], ["412-55-9031"] * 30, [" kalu55@example.com"]):
        assert quantiles(shared_model, tokenizer, targets, tokens, pool=useless, count=20) == [None]
