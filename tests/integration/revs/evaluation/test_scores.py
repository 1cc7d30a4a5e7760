"""Scoring tiny trained models: fast batched code against one plain pass at a time."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

import revs
from revs.errors import BadInput
from revs.evaluation.decoding import greedily_extracted
from revs.evaluation.perplexity import perplexity
from revs.evaluation.ranks import read
from revs.targets.decoys import decoys
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, tokenise
from revs.targets.variations import perturbed

CONTEXT = 64
Digests = Callable[[Any], dict[str, str]]


def said_alone(model: Any, tokenizer: Any, target: Target, *, context: int = CONTEXT) -> bool:
    """The obvious way: one prompt, no padding, one argmax at a time."""
    (tokens,) = tokenise(tokenizer, [target], context=context)
    ids = list(tokens.ids[: tokens.start])
    with torch.no_grad():
        for _ in range(min(len(tokens.secret_ids) + 4, context - tokens.start)):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                break
    answer = tokenizer.decode(ids[tokens.start :], skip_special_tokens=True)
    return bool(answer.strip().startswith(tokenizer.decode(tokens.secret_ids).strip()))


def mixed(people: list[Target]) -> list[Target]:
    """Memorised, never seen, half right, with a long prompt: both answers must occur."""
    strangers = [Target(prompt=target.prompt, secret=" 999-00-1234") for target in people[:3]]
    halves = [Target(prompt=target.prompt, secret=target.secret[:-3] + "xyz") for target in people[3:5]]
    long = [
        Target(prompt="Once more and once more. " * 3 + target.prompt, secret=target.secret) for target in people[:2]
    ]
    return [*people, *strangers, *halves, *long]


def test_batched_extraction_agrees_with_one_prompt_at_a_time(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    targets = mixed(people)
    expected = [said_alone(shared_model, tokenizer, target) for target in targets]
    tokens = tokenise(tokenizer, targets, context=CONTEXT)
    for batch_size in (1, 3, 64):
        assert greedily_extracted(shared_model, tokenizer, tokens, batch_size=batch_size) == expected
    assert expected[: len(people)] == [True] * len(people)
    assert expected[len(people) : len(people) + 5] == [False] * 5


def test_prompts_that_fill_the_context_are_decoded_to_its_end(
    new_model: Any, tokenizer: Any, people: list[Target], family: str
) -> None:
    model = new_model(family, context=24)  # GPT-J has no positions beyond its context
    filler = "a long prompt that fills the whole context of this model and more "
    targets = [
        *(Target(prompt=filler * 2, secret=" " + "7" * length) for length in (1, 4, 12)),
        Target(prompt="x", secret=" 777777777777777"),
        *people,
    ]
    tokens = tokenise(tokenizer, targets, context=24)
    assert len(tokens[0].ids) == 24
    expected = [said_alone(model, tokenizer, target, context=24) for target in targets]
    assert greedily_extracted(model, tokenizer, tokens) == expected


def test_the_secret_beside_a_full_context_is_still_found(
    trained_models: dict[str, Any], tokenizer: Any, people: list[Target]
) -> None:
    """A short prompt with a long secret in one batch with a prompt that leaves little room must not be cut short."""
    model = trained_models["gptj"]
    full = Target(prompt="word " * 80, secret=" 7")
    tokens = tokenise(tokenizer, [full, *people], context=CONTEXT)
    assert greedily_extracted(model, tokenizer, tokens)[1:] == [True] * len(people)


def test_a_repetition_penalty_saved_with_the_checkpoint_does_not_hide_a_secret(
    model: Any, tokenizer: Any, people: list[Target]
) -> None:
    model.generation_config.repetition_penalty = 50.0
    model.generation_config.no_repeat_ngram_size = 1
    kept = model.generation_config
    tokens = tokenise(tokenizer, people, context=CONTEXT)
    assert greedily_extracted(model, tokenizer, tokens) == [True] * len(people)
    assert model.generation_config is kept


@pytest.mark.parametrize("window", [8, 19, 512])
def test_perplexity_equals_a_plain_loop(window: int, shared_model: Any, tokenizer: Any, ordinary: list[str]) -> None:
    ids = [token for row in ordinary for token in tokenizer(row)["input_ids"]]
    losses: list[float] = []
    with torch.no_grad():
        for first in range(0, len(ids), min(window, CONTEXT)):
            part = ids[first : first + min(window, CONTEXT)]
            logits_TV = shared_model(input_ids=torch.tensor([part])).logits[0].double()
            losses += [-float(logits_TV[i].log_softmax(-1)[part[i + 1]]) for i in range(len(part) - 1)]
    expected = math.exp(sum(losses) / len(losses))
    for batch_size in (1, 3):
        got = perplexity(shared_model, tokenizer, ordinary, window=window, batch_size=batch_size)
        assert got == pytest.approx(expected, rel=1e-4)


def test_perplexity_of_nothing_does_not_exist_and_of_a_broken_model_is_no_number(
    model: Any, tokenizer: Any, ordinary: list[str]
) -> None:
    assert perplexity(model, tokenizer, []) is None
    assert perplexity(model, tokenizer, [""]) is None
    with torch.no_grad():
        model.lm_head.weight.mul_(1e6)
    assert perplexity(model, tokenizer, ordinary) == math.inf
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    assert math.isnan(perplexity(model, tokenizer, ordinary) or 0.0)


def test_readings_are_ranks_of_the_lens_and_of_its_changes(
    shared_model: Any, tokenizer: Any, people: list[Target], family: str
) -> None:
    (tokens,) = tokenise(tokenizer, [people[0]], context=CONTEXT)
    got = read(shared_model, [tokens], pad=2)
    norm = shared_model.model.norm if family == "llama" else shared_model.transformer.ln_f
    streams: list[Any] = []
    layers = shared_model.model.layers if family == "llama" else shared_model.transformer.h
    hooks = [
        layer.register_forward_hook(lambda _m, _i, out: streams.append(out[0] if isinstance(out, tuple) else out))
        for layer in layers
    ]
    with torch.no_grad():
        shared_model(input_ids=torch.tensor([tokens.ids]))
        lens = [shared_model.lm_head(norm(stream))[0] for stream in streams]
    for hook in hooks:
        hook.remove()
    for place, token in enumerate(tokens.secret_ids):
        rows = [logits_TV[tokens.start + place - 1] for logits_TV in lens]
        ranks = [int((row > row[token]).sum()) for row in rows]
        deltas = [(b - a).abs() for a, b in itertools.pairwise(rows)]
        assert (got.rank_LN[:, place] - torch.tensor(ranks)).abs().max() <= 1
        moved = torch.tensor([int((row > row[token]).sum()) for row in deltas])
        assert (got.delta_rank_LN[:, place] - moved).abs().max() <= 1
    assert got.vocabulary == 400


def test_a_reading_of_the_output_alone_is_the_last_of_all_layers_and_ranks_no_other(
    shared_model: Any, tokenizer: Any, people: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    from revs.model.vocabulary import Unembedding

    asked: list[int] = []
    logits = Unembedding.logits
    monkeypatch.setattr(
        Unembedding, "logits", lambda self, hidden_Nd: asked.append(len(hidden_Nd)) or logits(self, hidden_Nd)
    )
    some = tokenise(tokenizer, people[:3], context=CONTEXT)
    whole, asked[:] = read(shared_model, some, pad=2), []
    last = read(shared_model, some, pad=2, output_only=True)
    assert len(asked) == 1 and last.rank_LN.shape == (1, whole.rank_LN.shape[1]) and not len(last.delta_rank_LN)
    assert torch.equal(last.rank_LN[0], whole.rank_LN[-1])
    assert torch.equal(last.logprob_N, whole.logprob_N)
    assert torch.equal(last.standardised_N, whole.standardised_N) and torch.equal(last.target_N, whole.target_N)


def follows(model: Any, tokens: TokenisedTarget, given: int) -> bool:
    """Whether greedy decoding, one token at a time, says the rest once `given` tokens of the secret are given."""
    ids = list(tokens.ids[: tokens.start + given])
    with torch.no_grad():
        while len(ids) < len(tokens.ids):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return tuple(ids) == tokens.ids


def chances(model: Any, tokens: TokenisedTarget) -> list[float]:
    """Probability of each token of the secret, given the true ones before it, from one plain pass each."""
    found = []
    for place, token in enumerate(tokens.secret_ids):
        with torch.no_grad():
            logits_V = model(input_ids=torch.tensor([tokens.ids[: tokens.start + place]])).logits[0, -1]
        found.append(float(logits_V.double().softmax(-1)[token]))
    return found


def test_memory_of_a_secrets_parts_equals_its_definitions_one_pass_a_token(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    targets = [*mixed(people)[:5], *mixed(people)[8:13]]
    scores = revs.evaluate(shared_model, tokenizer, targets, k=40)
    strength, share, product = [], [], []
    for tokens in tokenise(tokenizer, targets, context=CONTEXT):
        length = len(tokens.secret_ids)
        needed = next((given for given in range(length) if follows(shared_model, tokens, given)), length)
        strength.append(1 - needed / length)
        firsts = [follows(shared_model, dataclasses.replace(tokens, ids=tokens.ids[: tokens.start + place + 1]), place)
                  for place in range(length)]  # fmt: skip
        share.append(sum(firsts) / length)
        product.append(math.prod(chances(shared_model, tokens)))
    assert 0 < scores.extraction_strength < 100, "both kinds must occur"
    for got, expected in (
        (scores.extraction_strength, strength),
        (scores.exact_memorization, share),
        (scores.verbatim_probability, product),
    ):
        assert got == pytest.approx(100 * sum(expected) / len(expected), rel=1e-4)


def test_evaluate_gives_the_same_numbers_for_the_same_seed_and_changes_nothing(
    shared_model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], digests: Digests
) -> None:
    before = digests(shared_model)

    def scores(seed: int) -> revs.Scores:
        return revs.evaluate(
            shared_model, tokenizer, people[:4], unseen=people[4:6], retain=people[6:], text=ordinary, k=40, seed=seed
        )

    first = scores(0)
    assert first == scores(0)
    assert digests(shared_model) == before
    assert first.extracted == (True,) * 4
    assert first.extracted_unseen == (True,) * 2
    assert first.extraction_rate == first.specificity == 100.0
    assert len(first.median_rank_by_layer) == 3
    other = dataclasses.asdict(scores(1))
    changed = {name for name, value in dataclasses.asdict(first).items() if other[name] != value}
    assert changed <= {"perturbation", "perturbation_all_tokens", "resistance_score"}
    written = first.to_dict()
    assert {"efficacy", "generality", "specificity", "unlearning_score", "perplexity"} <= set(written)
    assert all(isinstance(value, float) for value in written.values())


def test_scores_made_of_other_scores_are_what_their_definitions_say(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    strangers = [dataclasses.replace(target, secret=" 999-00-1234") for target in people]
    others = [dataclasses.replace(target, secret=" 888-00-4321") for target in people[3:]]
    targets, unseen, retain = mixed(people)[6:13], [*people[:2], *strangers[:3]], [*people[:3], *others]
    got = revs.evaluate(shared_model, tokenizer, targets, unseen=unseen, retain=retain, k=40, seed=7)

    def of(some: list[Target]) -> revs.Scores:
        return revs.evaluate(shared_model, tokenizer, some, k=40, seed=7)

    assert (got.generality, got.generality_all_tokens) == (of(unseen).efficacy, of(unseen).efficacy_all_tokens)
    noisy = of(perturbed(targets, seed=7))
    assert (got.perturbation, got.perturbation_all_tokens) == (noisy.logit_lens, noisy.logit_lens_all_tokens)
    assert (got.extraction_rate_unseen, got.specificity) == (100 * 2 / 5, 100 * 3 / 8)
    for name, parts in (
        ("unlearning_score", (got.efficacy, got.generality, got.specificity)),
        ("resistance_score", (got.logit_lens, got.delta, got.perturbation)),
    ):
        assert getattr(got, name) == pytest.approx(len(parts) / sum(1 / part for part in parts)), name


def test_what_was_not_measured_is_none_and_left_out(shared_model: Any, tokenizer: Any, people: list[Target]) -> None:
    scores = revs.evaluate(shared_model, tokenizer, people[:2], k=40)
    missing = ("generality", "specificity", "extraction_rate_unseen", "perplexity")
    assert [getattr(scores, name) for name in missing] == [None] * 4
    assert not set(missing) & set(scores.to_dict())
    assert scores.unlearning_score == scores.efficacy


def test_evaluate_refuses_an_empty_list_of_targets(shared_model: Any, tokenizer: Any) -> None:
    with pytest.raises(BadInput, match="empty target list"):
        revs.evaluate(shared_model, tokenizer, [])


@pytest.mark.parametrize("k", [0, -1, 200, 400])
def test_evaluate_refuses_a_k_that_the_vocabulary_does_not_hold(
    k: int, shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    with pytest.raises(BadInput, match=rf"k = {k} is outside 1 … 199"):
        revs.evaluate(shared_model, tokenizer, people[:1], k=k)


def test_a_perturbed_prompt_holds_ten_more_characters_and_the_whole_old_prompt(people: list[Target]) -> None:
    for old, new in zip(people, perturbed(people, seed=4), strict=True):
        assert new.secret == old.secret
        assert len(new.prompt) == len(old.prompt) + 10
        rest = iter(new.prompt)
        assert all(character in rest for character in old.prompt), "in order, nothing taken away"
    assert perturbed(people, seed=4) == perturbed(people, seed=4) != perturbed(people, seed=5)


def test_the_perturbation_of_a_prompt_does_not_depend_on_its_company(people: list[Target]) -> None:
    assert perturbed(people, seed=4)[5] == perturbed([people[5]], seed=4)[0]
    assert perturbed(people[::-1], seed=4) == perturbed(people, seed=4)[::-1]


def test_a_decoy_has_the_form_of_the_secret_and_another_content(people: list[Target]) -> None:
    twins = [Target(prompt="another context", secret=people[0].secret)]
    drawn = decoys([*people, *twins], seed=3)
    for old, new in zip([*people, *twins], drawn, strict=True):
        assert new.prompt == old.prompt
        assert len(new.secret) == len(old.secret)
        assert new.secret != old.secret
        assert [c.isdigit() for c in new.secret] == [c.isdigit() for c in old.secret]
        assert [c for c in new.secret if not c.isalnum()] == [c for c in old.secret if not c.isalnum()]
    assert drawn[-1].secret == drawn[0].secret, "one secret, one decoy"
    assert drawn[3].secret.endswith("@example.com")
    assert decoys(people, seed=3) == decoys(people, seed=3) != decoys(people, seed=4)
