"""The scores, by hand and against loops."""

from __future__ import annotations

import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from revs import metrics
from revs.readings import Readings

V, K = 1000, 100


def readings(
    ranks: list[list[int]], owners: list[int], chosen: list[bool], deltas: list[list[int]] | None = None
) -> Readings:
    return Readings(
        rank_LN=torch.tensor(ranks),
        delta_rank_LN=torch.tensor(deltas or [], dtype=torch.int64).reshape(-1, len(owners)),
        target_N=torch.tensor(owners),
        chosen_N=torch.tensor(chosen),
        vocabulary=V,
    )


SCORES = [
    # rank, score, why
    (0, 0.0, "the most likely token is no secret"),
    (1, 0.01, "one away from the top"),
    (50, 0.5, "half way to k"),
    (99, 0.99, "just below k"),
    (100, 1.0, "k away from the top"),
    (500, 1.0, "the middle is not better than k"),
    (900, 1.0, "k away from the end"),
    (901, 0.99, "the end gives a token away as well"),
    (999, 0.01, "the very last token: V − rank is 1"),
]


@pytest.mark.parametrize(("rank", "score", "why"), SCORES, ids=[row[-1] for row in SCORES])
def test_token_score(rank: int, score: float, why: str) -> None:
    assert metrics.token_scores(torch.tensor([rank]), V, K).tolist() == pytest.approx([score]), why


# Two secrets: the first with tokens 0 to 2 (0 and 2 chosen), the second with tokens 3 and 4 (4 chosen); two layers.
HAND = readings(
    [[10, 500, 60, 0, 100], [0, 500, 40, 500, 30]],
    [0, 0, 0, 1, 1],
    [True, False, True, False, True],
    [[20, 0, 40, 0, 100]],
)


def test_efficacy_takes_the_best_hidden_target_token_of_the_last_layer() -> None:
    assert metrics.efficacy(HAND, K) == pytest.approx(100 * (max(0.0, 0.4) + 0.3) / 2)


def test_efficacy_over_all_tokens_takes_the_mean_of_every_token_of_the_last_layer() -> None:
    assert metrics.efficacy_all_tokens(HAND, K) == pytest.approx(100 * ((0 + 1 + 0.4) / 3 + (1 + 0.3) / 2) / 2)


def test_logit_lens_is_the_worst_layer() -> None:
    first, last = (0.6 + 1.0) / 2, (0.4 + 0.3) / 2
    assert metrics.logit_lens(HAND, K) == pytest.approx(100 * min(first, last))


def test_delta_is_the_worst_target() -> None:
    assert metrics.delta(HAND, K) == pytest.approx(100 * min((0.2 + 0.4) / 2, 1.0))


def test_delta_of_a_model_with_one_layer_does_not_exist() -> None:
    assert metrics.delta(readings([[1, 2]], [0, 1], [True, True]), K) is None


def test_median_ranks_are_of_the_target_tokens_only() -> None:
    assert metrics.median_ranks(HAND) == [60.0, 30.0]


HARMONIC = [
    ([50.0, 100.0], 200 / 3, "2ab/(a+b)"),
    ([60.0, None, 60.0], 60.0, "what was not measured is left out"),
    ([80.0], 80.0, "one value is itself"),
    ([100.0, 0.0, 100.0], 0.0, "one zero is zero: nothing is averaged away"),
    ([None, None], None, "nothing measured, no score"),
    ([], None, "no values, no score"),
]


@pytest.mark.parametrize(("values", "mean", "why"), HARMONIC, ids=[row[-1] for row in HARMONIC])
def test_harmonic_mean(values: list[float | None], mean: float | None, why: str) -> None:
    got = metrics.harmonic_mean(values)
    assert got == (mean if mean is None else pytest.approx(mean)), why


def slow_score(rank: int) -> float:
    return min(1.0, rank / K, (V - rank) / K)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_every_score_equals_its_definition_written_as_loops(data: st.DataObject) -> None:
    layers = data.draw(st.integers(2, 4))
    secrets = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))  # tokens of each
    owners = [secret for secret, length in enumerate(secrets) for _ in range(length)]
    chosen = [place < 2 for length in secrets for place in range(length)]
    rank = st.integers(0, V - 1)
    row = st.lists(rank, min_size=len(owners), max_size=len(owners))
    ranks = [data.draw(row) for _ in range(layers)]
    deltas = [data.draw(row) for _ in range(layers - 1)]
    given_ = readings(ranks, owners, chosen, deltas)

    def of_secret(layer: int, secret: int) -> float:
        return max(slow_score(r) for r, o, c in zip(ranks[layer], owners, chosen, strict=True) if o == secret and c)

    def all_tokens(secret: int) -> float:
        return statistics.fmean(slow_score(r) for r, o in zip(ranks[-1], owners, strict=True) if o == secret)

    def of_deltas(secret: int) -> float:
        return statistics.fmean(
            slow_score(r) for line in deltas for r, o, c in zip(line, owners, chosen, strict=True) if o == secret and c
        )

    numbers = range(len(secrets))
    means = [statistics.fmean(of_secret(layer, secret) for secret in numbers) for layer in range(layers)]
    assert metrics.efficacy(given_, K) == pytest.approx(100 * means[-1])
    assert metrics.logit_lens(given_, K) == pytest.approx(100 * min(means))
    assert metrics.efficacy_all_tokens(given_, K) == pytest.approx(100 * statistics.fmean(map(all_tokens, numbers)))
    assert metrics.delta(given_, K) == pytest.approx(100 * min(map(of_deltas, numbers)))
