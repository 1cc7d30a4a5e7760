"""How far a model is from one that never saw the secrets: by a twin, and by decoys on the model before the edit."""

from __future__ import annotations

import copy
import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest
import torch

import revs
from revs.errors import Gap
from revs.evaluation.context import Examination
from revs.evaluation.metrics import METRICS, value_of
from revs.evaluation.reference import exchangeable_decoys
from revs.targets.decoys import decoys
from revs.targets.target import Target
from revs.targets.tokenize import TokenisedTarget, tokenise

K = 20
FORGET, OTHERS = slice(0, 3), slice(3, None)
FOLLOWS = ("exact_memorization_distance", "extraction_strength_distance")
SCORES = ("efficacy_distance_at_10", "efficacy_distance_at_100", "logit_lens_distance_at_10")
S_MIA = ("s_mia_loss", "s_mia_min_k", "s_mia_min_k_plus_plus")
ALL = [*FOLLOWS, *(f"{name}_unseen" for name in FOLLOWS), *SCORES, *S_MIA]


def texts(targets: Iterable[Target], ending: str = ".") -> list[str]:
    return [target.prompt + target.secret + ending for target in targets]


def unseen_of(people: Sequence[Target]) -> list[Target]:
    return [Target(prompt=f"Of {target.prompt}", secret=target.secret) for target in people[FORGET]]


NAMES = (("Ana Bell", "Kim Lowe"), ("Bo Carver", "Max North"), ("Cy Dunn", "Ola Price"))


def strangers(people: Sequence[Target]) -> list[str]:
    """Others in the same sentences: without them no model would know what a number looks like there."""
    renamed = [
        Target(prompt=target.prompt.replace(*names), secret=target.secret)
        for target, names in zip(people[FORGET], NAMES, strict=True)
    ]
    return texts([other for seed in (101, 102, 103) for other in decoys(renamed, seed=seed)])


@pytest.fixture(scope="module")
def taught(new_model: Callable[..., Any], fit: Callable[..., Any], people: list[Target]) -> Any:
    return fit(new_model("llama"), [*texts([*people, *unseen_of(people)]), *strangers(people)])


@pytest.fixture(scope="module")
def twin(new_model: Callable[..., Any], fit: Callable[..., Any], people: list[Target]) -> Any:
    return fit(new_model("llama"), [*texts(people[OTHERS]), *strangers(people)])


@pytest.fixture(scope="module")
def overdone(taught: Any) -> Any:
    """Its likeliest token is the one that was the least likely: nothing comes that anybody would expect."""
    turned = copy.deepcopy(taught)
    with torch.no_grad():
        turned.lm_head.weight.neg_()
    return turned


@pytest.fixture(scope="module")
def half_done(new_model: Callable[..., Any], fit: Callable[..., Any], people: list[Target]) -> Any:
    """Knows one of the three secrets."""
    return fit(new_model("llama"), [*texts([people[0], *people[OTHERS]]), *strangers(people)])


def measured(model: Any, tokenizer: Any, people: list[Target], **options: Any) -> revs.Scores:
    settings: dict[str, Any] = {"unseen": unseen_of(people), "metrics": ALL, "k": K} | options
    return revs.evaluate(model, tokenizer, people[FORGET], **settings)


def right(model: Any, target: TokenisedTarget) -> list[bool]:
    """The obvious way: one text, no padding, the model's own top-1 prediction before each token of the secret."""
    with torch.no_grad():
        logits_TV = model(input_ids=torch.tensor([target.ids]), use_cache=False).logits[0]
    top = logits_TV.argmax(-1).tolist()[target.start - 1 :]
    return [own == first for own, first in zip(target.secret_ids, top, strict=False)]


def exact(flags: list[bool]) -> float:
    return 100 * sum(flags) / len(flags)


def strength(flags: list[bool]) -> float:
    return 100 * len(list(itertools.takewhile(bool, reversed(flags)))) / len(flags)


SLOW = {"exact_memorization_distance": exact, "extraction_strength_distance": strength}


def slow(name: str, model: Any, tokenizer: Any, targets: Sequence[Target]) -> float:
    return statistics.fmean(SLOW[name](right(model, each)) for each in tokenise(tokenizer, targets, context=64))


@pytest.mark.parametrize("name", FOLLOWS)
def test_an_unedited_model_is_all_that_its_decoys_lack_away_from_the_reference(
    name: str, taught: Any, tokenizer: Any, people: list[Target]
) -> None:
    scores = measured(taught, tokenizer, people, original=taught)
    drawn = [decoy for number in range(1, 11) for decoy in decoys(people[FORGET], seed=number)]
    reference = slow(name, taught, tokenizer, drawn)
    assert slow(name, taught, tokenizer, people[FORGET]) == 100
    assert getattr(scores, name) == pytest.approx(100 - reference)
    drawn = [decoy for number in range(1, 11) for decoy in decoys(unseen_of(people), seed=number)]
    assert getattr(scores, f"{name}_unseen") == pytest.approx(100 - slow(name, taught, tokenizer, drawn))
    assert name != "exact_memorization_distance" or 0 < reference < 100, "or the decoys would not have been asked"


@pytest.mark.parametrize("name", FOLLOWS)
def test_a_distance_is_to_the_twin_where_one_is_given_whatever_the_unedited_model_says(
    name: str, taught: Any, twin: Any, tokenizer: Any, people: list[Target]
) -> None:
    scores = measured(taught, tokenizer, people, original=taught, twin=twin)
    assert getattr(scores, name) == pytest.approx(100 - slow(name, twin, tokenizer, people[FORGET]))
    assert getattr(scores, f"{name}_unseen") == pytest.approx(100 - slow(name, twin, tokenizer, unseen_of(people)))


def test_the_twin_itself_is_no_distance_from_the_reference(
    taught: Any, twin: Any, tokenizer: Any, people: list[Target]
) -> None:
    scores = measured(twin, tokenizer, people, original=taught, twin=copy.deepcopy(twin)).to_dict()
    assert scores == {name: 1.0 if name in S_MIA else 0.0 for name in ALL}
    assert len(scores) == len(ALL)


def test_what_went_too_far_is_below_the_reference_and_no_better_than_what_is_left(
    overdone: Any, taught: Any, twin: Any, tokenizer: Any, people: list[Target]
) -> None:
    beyond = measured(overdone, tokenizer, people, twin=twin)
    left = measured(taught, tokenizer, people, twin=twin)
    for name in ("exact_memorization_distance", "exact_memorization_distance_unseen"):
        assert getattr(beyond, name) < 0 < getattr(left, name)
    # A score at k is low at the very end of the vocabulary as well as at its beginning: both models are below.
    for name in ("efficacy_distance_at_10", "logit_lens_distance_at_10"):
        assert getattr(beyond, name) < 0 and getattr(left, name) < 0


def membership_scores(model: Any, target: TokenisedTarget) -> dict[str, float]:
    with torch.no_grad():
        logits_TV = model(input_ids=torch.tensor([target.ids]), use_cache=False).logits[0].double()
    plain, standardised = [], []
    for place, token in enumerate(target.secret_ids):
        log_V = logits_TV[target.start + place - 1].log_softmax(-1)
        mean = float((log_V.exp() * log_V).sum())
        variance = float((log_V.exp() * (log_V - mean) ** 2).sum())
        plain.append(float(log_V[token]))
        standardised.append((plain[-1] - mean) / max(variance, 1e-12) ** 0.5)
    fifth = math.ceil(len(plain) / 5)
    return {
        "s_mia_loss": statistics.fmean(plain),
        "s_mia_min_k": statistics.fmean(sorted(plain)[:fifth]),
        "s_mia_min_k_plus_plus": statistics.fmean(sorted(standardised)[:fifth]),
    }


def slow_auc(name: str, model: Any, tokenizer: Any, targets: Sequence[Target]) -> float:
    drawn = [decoy for number in range(1, 11) for decoy in decoys(targets, seed=number)]
    secrets, others = (
        [membership_scores(model, each)[name] for each in tokenise(tokenizer, some, context=64)]
        for some in (targets, drawn)
    )
    wins = [(secret > other) + (secret == other) / 2 for secret in secrets for other in others]
    return 100 * statistics.fmean(wins)


@pytest.mark.parametrize("name", S_MIA)
def test_s_mia_compares_pair_by_pair_with_the_twin_and_without_one_with_guessing(
    name: str, half_done: Any, taught: Any, twin: Any, tokenizer: Any, people: list[Target]
) -> None:
    own, reference = (slow_auc(name, model, tokenizer, people[FORGET]) for model in (half_done, twin))
    assert own != reference and 0 < reference < 100
    one_pair = 1 / 30 * 100 / min(reference, 50)  # batches may round one
    got = getattr(measured(half_done, tokenizer, people, twin=twin), name)
    assert got == pytest.approx(max(0.0, 1 - abs(own - reference) / reference), abs=one_pair)
    got = getattr(measured(half_done, tokenizer, people), name)
    assert got == pytest.approx(max(0.0, 1 - abs(own - 50) / 50), abs=one_pair)
    assert getattr(measured(taught, tokenizer, people), name) == 0, "every secret above every decoy"


def test_where_nothing_is_shared_the_decoys_are_those_of_the_membership_attack(
    twin: Any, tokenizer: Any, people: list[Target]
) -> None:
    examination = Examination(model=twin, tokenizer=tokenizer, targets=people[FORGET], k=K)
    auc = value_of(examination, "min_k_plus_plus")
    expected = max(0.0, 1 - abs(auc - 50) / 50)
    assert value_of(examination, "s_mia_min_k_plus_plus") == pytest.approx(expected, abs=1 / 15)


PHONES = ("(212) 555-0142", "(646) 555-0188", "(310) 555-0117", "(718) 555-0164", "(415) 555-0123")


def phones(numbers: Iterable[str]) -> list[Target]:
    return [Target(prompt=f"Call person {place} at", secret=f" {number}") for place, number in enumerate(numbers)]


def test_a_number_part_that_all_of_a_form_share_stays_in_a_decoy_and_the_rest_is_exchanged() -> None:
    examination = Examination(model=None, tokenizer=None, targets=phones(PHONES[:2]), retain=phones(PHONES[2:]))  # type: ignore[arg-type]
    drawn = exchangeable_decoys(examination, "targets")
    assert len(drawn) == 10 * 2
    for target, decoy in zip(examination.targets * 10, drawn, strict=True):  # type: ignore[operator]
        assert decoy.prompt == target.prompt
        assert decoy.secret[5:11] == target.secret[5:11] == ") 555-"
        moved = [a != b for a, b in zip(decoy.secret, target.secret, strict=True)]
        assert moved[2:5] == [True] * 3 and moved[11:] == [True] * 4


NOT_SHARED = [
    (["(212) 555-0142", "(646) 555-0188"], "one other tells nothing of what a form shares"),
    (["(212) 444-0142", *PHONES[1:]], "a part of its own is its own"),
    (["(212) 555-0142", "(212) 444-0188", "(310) 333-0117", "(718) 222-0164", "(415) 111-0123"], "one of four has it"),
    (["212.555.0142", *PHONES[1:]], "another form has other parts"),
]


@pytest.mark.parametrize(("numbers", "why"), NOT_SHARED, ids=[row[-1] for row in NOT_SHARED])
def test_what_is_not_shared_is_exchanged(numbers: list[str], why: str) -> None:
    targets = phones(numbers)
    examination = Examination(model=None, tokenizer=None, targets=targets[:1], retain=targets[1:])  # type: ignore[arg-type]
    expected = [decoy for number in range(1, 11) for decoy in decoys(targets[:1], seed=number)]
    assert exchangeable_decoys(examination, "targets") == expected, why


def test_a_decoy_is_never_the_secret_itself() -> None:
    shared = phones(["11-22", "11-33", "11-44", "55-22", "66-22"])  # each part of the first is one that others have
    examination = Examination(model=None, tokenizer=None, targets=shared[:1], retain=shared[1:])  # type: ignore[arg-type]
    assert all(decoy.secret != " 11-22" for decoy in exchangeable_decoys(examination, "targets"))
    nothing = Examination(model=None, tokenizer=None, targets=[Target(prompt="At", secret=" §§§")])  # type: ignore[arg-type]
    with pytest.raises(Gap, match="no letter or digit"):
        exchangeable_decoys(nothing, "targets")


DISTANCES = [name for name in METRICS if "_distance" in name]
TOO_LARGE = {"efficacy_distance_at_1000", "logit_lens_distance_at_1000"}


def test_without_a_reference_a_distance_is_a_gap_that_says_what_to_give_and_membership_is_not(
    taught: Any, tokenizer: Any, people: list[Target]
) -> None:
    scores = measured(taught, tokenizer, people, metrics=[*DISTANCES, *S_MIA])
    assert set(scores.to_dict()) == set(S_MIA)
    assert set(scores.gaps) == set(DISTANCES)
    for name in set(DISTANCES) - TOO_LARGE:
        assert scores.gaps[name] == (
            "no reference: give a model that never saw the secrets (twin=) or the unedited one (original=)"
        )
    scores = measured(taught, tokenizer, people, unseen=(), metrics=DISTANCES, original=taught)
    missing = {name for name in DISTANCES if name.endswith("_unseen")}
    assert set(scores.gaps) == missing | TOO_LARGE
    assert all("unseen=" in scores.gaps[name] for name in missing)
    assert all("half of this vocabulary" in scores.gaps[name] for name in TOO_LARGE)


def test_a_reference_that_cannot_be_read_is_a_gap_that_says_that_it_is_the_reference(
    taught: Any, tokenizer: Any, people: list[Target], new_model: Callable[..., Any]
) -> None:
    broken = copy.deepcopy(taught)
    with torch.no_grad():
        broken.model.layers[1].mlp.down_proj.weight[0, 0] = torch.nan
    scores = measured(taught, tokenizer, people, twin=broken)
    assert set(scores.gaps) == set(ALL)
    assert all(why.startswith("no reference: ") and "NaN" in why for why in scores.gaps.values())
    scores = measured(taught, tokenizer, people, twin=new_model("llama", vocabulary=410), original=taught)
    assert all(why == "no reference: its model has 410 tokens, and this one 400" for why in scores.gaps.values())
    assert set(scores.gaps) == set(ALL)


def test_a_distance_has_no_better_direction_and_s_mia_has() -> None:
    assert len(DISTANCES) == 10
    for name in DISTANCES:
        assert METRICS[name].higher_is_better is None and not METRICS[name].standard
    for name in S_MIA:
        assert METRICS[name].higher_is_better is True and not METRICS[name].standard
