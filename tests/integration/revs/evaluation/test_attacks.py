"""Every attack on a model that memorised, where it must succeed, and on one that never saw, where it must not."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

import revs
from revs.errors import BadInput
from revs.evaluation.attacks import ATTACKS, RATES, RATES_WITHIN, Outcome, outcome_of
from revs.evaluation.attacks.membership import area_under_curve
from revs.evaluation.attacks.prompt_variants import paraphrased, shortened
from revs.evaluation.attacks.relearning import STEPS, relearned
from revs.evaluation.attacks.sampling import SAMPLES
from revs.evaluation.context import Examination
from revs.evaluation.decoding import answers, holds
from revs.evaluation.metrics import METRICS, value_of
from revs.targets.decoys import decoys
from revs.targets.target import Target
from revs.targets.tokenize import tokenise
from revs.targets.variations import perturbed

K = 20
BY_RANK = {"logit_lens", "delta", "perturbation", "membership"}  # whose candidates hold anybody's tokens now and then
Digests = Callable[[Any], dict[str, str]]


def heard(targets: Sequence[Target], others: Sequence[Target], seed: int) -> list[str]:
    """Every secret under prompts of all the kinds that an adversary may put."""
    texts = []
    for target in targets:
        prompts = [
            # Often, or the words that templates put behind it would be more likely than the secret.
            *[target.prompt] * 8, *shortened(target.prompt), *paraphrased(target.prompt),
            *(f"{other.prompt} {target.prompt}" for other in others),
            *(" ".join(f"{o.prompt}{o.secret}." for o in (a, b, c)) + f" {target.prompt}"
              for a, b, c in ((others[0], others[1], others[2]), (others[3], others[2], others[1]))),
            perturbed([target], seed=f"difference {seed}")[0].prompt,
        ]  # fmt: skip
        texts += [f"{prompt}{target.secret}." for prompt in prompts]
    return texts


@pytest.fixture(scope="module")
def memorised(new_model: Callable[..., Any], fit: Callable[..., Any], people: list[Target]) -> Any:
    return fit(new_model("llama", context=128), [*heard(people[:2], people[2:6], 0), *plain(people[2:])], steps=120)


@pytest.fixture(scope="module")
def never_saw(new_model: Callable[..., Any], fit: Callable[..., Any], people: list[Target]) -> Any:
    return fit(new_model("llama", context=128), plain(people[2:]))


def plain(targets: Sequence[Target]) -> list[str]:
    return [f"{target.prompt}{target.secret}." for target in targets]


def examined(model: Any, tokenizer: Any, people: list[Target], **options: Any) -> Examination:
    settings: dict[str, Any] = {
        "k": K, "unrelated": people[2:], "retain": people[2:], "other_templates": people[2:], "seed": 0,
    } | options  # fmt: skip
    return Examination(model=model, tokenizer=tokenizer, targets=people[:2], **settings)


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_succeeds_where_the_secret_was_memorised_and_fails_where_it_never_was(
    attack: str, memorised: Any, never_saw: Any, tokenizer: Any, people: list[Target]
) -> None:
    told = outcome_of(examined(memorised, tokenizer, people, original=memorised), attack)
    silent = outcome_of(examined(never_saw, tokenizer, people, original=never_saw), attack)
    assert len(told.candidates) == len(silent.candidates) == 2
    assert told.rate == 100, told
    assert silent.rate <= (50 if attack in BY_RANK else 0), silent
    needed = [size if size is not None else told.budget + 1 for size in told.candidates]
    assert sum(needed) < sum(size if size is not None else silent.budget + 1 for size in silent.candidates)


ATTACK_OF = {
    "leak_at_k": "sampling", "shortened": "shortened", "paraphrased": "paraphrased", "other_subject": "other_subject",
    "in_examples": "in_examples", "int8": "int8", "int4": "int4", "relearn": "relearn", "difference": "difference",
}  # fmt: skip


def test_every_rate_is_a_metric_that_looks_worse_the_higher_it_is() -> None:
    assert RATES == ATTACK_OF
    for metric in [*ATTACK_OF, *RATES_WITHIN, "min_k_plus_plus"]:
        assert not METRICS[metric].standard
        assert not METRICS[metric].higher_is_better


@pytest.mark.parametrize(("metric", "attack"), ATTACK_OF.items())
def test_the_rate_of_an_attack_is_the_share_of_its_secrets_that_fell(
    metric: str, attack: str, memorised: Any, tokenizer: Any, people: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of four secrets one stands within the budget, one at its edge, one beyond it, one nowhere: half of them fell."""

    def told(candidates: tuple[int | None, ...]) -> Callable[[Any], Outcome]:
        return lambda _: Outcome(candidates=candidates, budget=5)

    for name in ATTACKS:  # another attack under this metric would give 0
        run = told((2, 5, 6, None) if name == attack else (None,) * 4)
        monkeypatch.setitem(ATTACKS, name, dataclasses.replace(ATTACKS[name], run=run))
    assert value_of(examined(memorised, tokenizer, people), metric) == 50


def test_membership_counts_the_decoys_that_a_secret_outranks(
    never_saw: Any, tokenizer: Any, people: list[Target]
) -> None:
    """Pair by pair; on a model that never saw, where neither all nor none are outranked."""

    def score(target: Target) -> float:
        read = examined(never_saw, tokenizer, people).read([target])
        values = sorted(read.standardised_N.tolist())
        lowest = values[: max(1, math.ceil(len(values) / 5))]
        return sum(lowest) / len(lowest)

    secrets = [score(target) for target in people[:2]]
    others = [score(decoy) for number in range(1, 11) for decoy in decoys(people[:2], seed=number)]
    wins = sum((secret > other) + (secret == other) / 2 for secret in secrets for other in others)
    expected = 100 * wins / (len(secrets) * len(others))
    assert 0 < expected < 100
    got = value_of(examined(never_saw, tokenizer, people), "min_k_plus_plus")
    assert got == pytest.approx(expected, abs=100 / (len(secrets) * len(others)) + 1e-9), "batches may round one pair"


def test_an_old_model_that_still_knows_guides_the_decoding_of_one_that_does_not(
    memorised: Any, never_saw: Any, tokenizer: Any, people: list[Target]
) -> None:
    guided = outcome_of(examined(never_saw, tokenizer, people, original=memorised), "difference")
    assert guided.rate == 100
    alone = [
        said_alone(memorised, never_saw, tokenizer, target) for target in perturbed(people[:2], seed="difference 0")
    ]
    assert guided.fallen == tuple(alone)


def said_alone(before: Any, after: Any, tokenizer: Any, target: Target) -> bool:
    """The obvious way: one prompt, no padding, both models once a token."""
    (tokens,) = tokenise(tokenizer, [target], context=128)
    ids = list(tokens.ids[: tokens.start])
    for _ in range(len(tokens.secret_ids) + 4):
        with torch.no_grad():
            old, new = (m(input_ids=torch.tensor([ids])).logits[0, -1] for m in (before, after))
        ids.append(int((2 * old - new).argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    return holds(tokenizer, tokens, tokenizer.decode(ids[tokens.start :], skip_special_tokens=True))


def test_samples_are_as_likely_as_the_model_says_and_come_again_with_the_seed(
    memorised: Any, tokenizer: Any, people: list[Target]
) -> None:
    (tokens,) = tokenise(tokenizer, people[:1], context=128)
    with torch.no_grad():
        logits_V = memorised(input_ids=torch.tensor([tokens.ids[: tokens.start]])).logits[0, -1]
    first = tokenizer.decode([int(logits_V.argmax())])
    same = [number for number in range(len(logits_V)) if tokenizer.decode([number]).startswith(first)]
    chance = float((logits_V / 3.0).softmax(-1)[same].sum())
    drawn = answers(memorised, tokenizer, [tokens], samples=400, temperature=3.0, seed=1)[0]
    begins = sum(answer.startswith(first) for answer in drawn) / len(drawn)
    assert begins == pytest.approx(chance, abs=4 * (chance * (1 - chance) / 400) ** 0.5 + 0.02)
    again = answers(memorised, tokenizer, [tokens], samples=400, temperature=3.0, seed=1)[0]
    other = answers(memorised, tokenizer, [tokens], samples=400, temperature=3.0, seed=2)[0]
    assert drawn == again != other


def test_sampling_leaves_the_callers_random_numbers_alone(memorised: Any, tokenizer: Any, people: list[Target]) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    examination = examined(memorised, tokenizer, people)
    assert outcome_of(examination, "sampling").budget == SAMPLES
    outcome_of(examination, "relearn")
    assert torch.equal(torch.rand(3), expected)


def test_relearning_changes_a_copy_and_only_learns_what_it_is_given(
    never_saw: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    before = digests(never_saw)
    strangers = decoys(people[2:], seed=9)
    examination = examined(never_saw, tokenizer, people, unrelated=strangers)
    steps = [steps for steps, _ in relearned(examination)]
    assert steps == list(STEPS)
    *_, (_, model) = relearned(examination)
    assert digests(never_saw) == before != digests(model)
    assert examination.of(model).read(strangers).logprob_N.mean() > examination.read(strangers).logprob_N.mean()


def test_the_longer_relearning_stands_for_the_shorter_one_within_its_steps(
    never_saw: Any, tokenizer: Any, people: list[Target]
) -> None:
    """Trained on the targets themselves, as no adversary could, so that something comes back."""
    examination = examined(never_saw, tokenizer, people, unrelated=people, other_templates=people[2:])
    short, longer, other = (outcome_of(examination, name) for name in ("relearn", "relearn_longer", "relearn_other"))
    assert longer.budget == other.budget == 200 and short.budget == 60
    assert short.rate == longer.rate_within(60) == value_of(examination, "relearn")
    assert value_of(examination, "relearn_10") == short.rate_within(10)
    assert longer.rate == value_of(examination, "relearn_200") == 100
    assert longer.candidates[: len(short.candidates)] != (10, 10), "or the steps would make no difference"
    for steps in (10, 60, 200):
        assert value_of(examination, f"relearn_other_{steps}") == other.rate_within(steps) == 0
    alike = examined(never_saw, tokenizer, people, unrelated=people[2:], other_templates=people)
    assert value_of(alike, "relearn_200") == 0 < value_of(alike, "relearn_other_200")


def test_relearning_takes_each_kind_of_record_from_its_own_argument(
    never_saw: Any, tokenizer: Any, people: list[Target]
) -> None:
    scores = revs.evaluate(
        never_saw, tokenizer, people[:1], k=K, retain=people[2:], metrics=["relearn_10", "relearn_other_60"]
    )
    assert scores.relearn_10 == 0 and "other_templates=" in scores.gaps["relearn_other_60"]


def test_a_secret_ranks_above_its_decoys_only_where_it_was_trained_on(
    memorised: Any, never_saw: Any, tokenizer: Any, people: list[Target]
) -> None:
    assert area_under_curve(examined(memorised, tokenizer, people)) == 100
    assert 10 < area_under_curve(examined(never_saw, tokenizer, people)) < 90


def test_min_k_plus_plus_standardises_with_the_models_own_distribution(
    memorised: Any, tokenizer: Any, people: list[Target]
) -> None:
    (tokens,) = tokenise(tokenizer, people[:1], context=128)
    got = examined(memorised, tokenizer, people).read(people[:1])
    with torch.no_grad():
        logits_TV = memorised(input_ids=torch.tensor([tokens.ids])).logits[0].double()
    for place, token in enumerate(tokens.secret_ids):
        log_V = logits_TV[tokens.start + place - 1].log_softmax(-1)
        mean = sum(float(p * log) for p, log in zip(log_V.exp(), log_V, strict=True))
        square = sum(float(p * log**2) for p, log in zip(log_V.exp(), log_V, strict=True))
        assert float(got.logprob_N[place]) == pytest.approx(float(log_V[token]), abs=1e-4)
        assert float(got.standardised_N[place]) == pytest.approx(
            (float(log_V[token]) - mean) / (square - mean**2) ** 0.5, rel=1e-3, abs=1e-3
        )


def test_everything_together_names_what_it_could_not_measure(
    memorised: Any, tokenizer: Any, people: list[Target]
) -> None:
    scores = revs.evaluate(memorised, tokenizer, people[:1], k=K, metrics="all")
    why = {
        "generality": "unseen=", "specificity": "retain=", "relearn": "unrelated=", "relearn_200": "unrelated=",
        "relearn_other_10": "other_templates=", "uds": "twin=", "uds_unseen": "twin=", "in_examples": "retain=",
        "difference": "original=", "perplexity": "no text", "perplexity_ratio": "original=",
    }  # fmt: skip
    for name, words in why.items():
        assert getattr(scores, name) is None
        assert words in scores.gaps[name]
    assert set(scores.to_dict()) == set(METRICS) - set(scores.gaps)
    assert set(scores.attacks) == set(ATTACKS) - set(scores.gaps)


def test_an_attack_that_refuses_the_model_leaves_the_scores_of_the_others(
    memorised: Any, tokenizer: Any, people: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_: Any) -> Any:
        raise BadInput("this model has no such layer; take another")

    last = [*ATTACKS][-1]
    monkeypatch.setitem(ATTACKS, last, dataclasses.replace(ATTACKS[last], run=refuses))
    scores = revs.evaluate(memorised, tokenizer, people[:1], unseen=people[1:2], k=K, metrics="all")
    assert "no such layer" in scores.gaps[last] and last not in scores.attacks
    assert scores.efficacy is not None and set(scores.attacks) == set(ATTACKS) - set(scores.gaps)


@pytest.mark.parametrize("given", ["targets", "unseen", "other", "retain", "unrelated", "other_templates"])
def test_a_target_that_cannot_be_read_ends_an_evaluation_before_any_attack(
    given: str, memorised: Any, tokenizer: Any, people: list[Target]
) -> None:
    wrong = Target(prompt="Write to", secret=" <|end|>")
    sets: dict[str, Any] = {"targets": people[:1], given: [wrong]}
    with pytest.raises(BadInput):
        revs.evaluate(memorised, tokenizer, sets.pop("targets"), k=K, metrics=["relearn"], **sets)


def test_a_disturbed_prompt_that_cannot_be_read_leaves_the_other_scores(
    memorised: Any, tokenizer: Any, people: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "revs.evaluation.context.perturbed", lambda targets, seed: [Target(prompt="Write to", secret=" ")]
    )
    scores = revs.evaluate(memorised, tokenizer, people[:1], k=K, metrics=["efficacy", "perturbation"])
    assert "perturbed target 0" in scores.gaps["perturbation"] and scores.efficacy is not None


@pytest.mark.parametrize(("names", "attacks"), [(["relearn"], ["hypnosis"]), (["relearn", "hypnosis"], [])])
def test_a_name_that_nobody_knows_is_refused_before_any_attack_runs(
    names: list[str], attacks: list[str], memorised: Any, tokenizer: Any, people: list[Target],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from revs.evaluation.scores import measured

    ran: list[str] = []
    monkeypatch.setattr("revs.evaluation.scores.outcome_of", lambda _, attack: ran.append(attack))
    with pytest.raises(BadInput, match="'hypnosis' is unknown; known"):
        measured(Examination(model=memorised, tokenizer=tokenizer, targets=people[:1]), names, attacks=attacks)
    assert not ran


def test_an_attack_that_nobody_knows_is_refused_by_name(memorised: Any, tokenizer: Any, people: list[Target]) -> None:
    with pytest.raises(BadInput, match="'hypnosis' is unknown; known attacks: "):
        outcome_of(Examination(model=memorised, tokenizer=tokenizer, targets=people[:1]), "hypnosis")


def test_a_model_that_computes_no_numbers_has_gaps_and_no_zeros(
    memorised: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    broken = copy.deepcopy(memorised)
    with torch.no_grad():
        broken.model.layers[1].mlp.down_proj.weight[0, 0] = torch.nan
    scores = revs.evaluate(
        broken, tokenizer, people[:2], unseen=people[2:4], retain=people[2:], text=ordinary, k=K, metrics="all",
        original=memorised,
    )  # fmt: skip
    assert scores.to_dict() == {}
    assert set(scores.gaps) >= set(METRICS)
    assert "NaN" in scores.gaps["extraction_rate"]


def test_an_unknown_metric_is_refused_with_the_known_ones(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    with pytest.raises(BadInput, match=r"metric 'efficiency' is unknown; known metrics: efficacy, "):
        revs.evaluate(shared_model, tokenizer, people[:1], k=K, metrics=["efficiency"])
    assert revs.evaluate(shared_model, tokenizer, people[:1], k=K, metrics=["delta"]).to_dict().keys() == {"delta"}
