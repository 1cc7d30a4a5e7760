"""The exact step against a slow obvious oracle: shift the vector, normalise, multiply, count; all in float64.

Legend of shape suffixes: V vocabulary, d hidden, N rows, T tokens to be moved.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from revs.errors import BadInput
from revs.model.adapter import Architecture
from revs.model.families import architecture_of as adapter_of
from revs.model.rank_step import rank_of
from revs.model.vocabulary import Unembedding

EPS = 1e-5


class Head(nn.Module):
    """A final norm and an unembedding, and nothing else of a model."""

    def __init__(self, norm: nn.Module, lm_head: nn.Linear) -> None:
        super().__init__()
        self.norm, self.lm_head = norm, lm_head

    def get_output_embeddings(self) -> nn.Linear:
        return self.lm_head


class RmsNorm(nn.Module):
    def __init__(self, gain_d: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(gain_d)
        self.variance_epsilon = EPS


def make(
    kind: str,
    u_Vd: Tensor,
    gain_d: Tensor,
    *,
    bias_d: Tensor | None = None,
    beta_V: Tensor | None = None,
    **isolating: Any,
) -> Any:
    """`Unembedding` of a head with these weights, and its oracle: (hidden, token, step) -> rank."""
    vocabulary, width = u_Vd.shape
    lm_head = nn.Linear(width, vocabulary, bias=beta_V is not None)
    lm_head.weight.data = u_Vd.clone()
    if beta_V is not None:
        lm_head.bias.data = beta_V.clone()
    norm: nn.Module = RmsNorm(gain_d.clone())
    if kind == "layer":
        norm = nn.LayerNorm(width, eps=EPS)
        norm.weight.data, norm.bias.data = gain_d.clone(), torch.zeros(width) if bias_d is None else bias_d.clone()
    architecture = Architecture(layers="", writers=(), final_norm="norm", norm="rms" if kind == "rms" else "layer")
    unembedding = Unembedding(Head(norm, lm_head), architecture, **isolating)

    def logits(hidden_d: Tensor, token: int, step: float) -> Tensor:
        moved_d = hidden_d.double() + step * unembedding.directions(torch.tensor([token]))[0].double()
        centred_d = moved_d - moved_d.mean() if kind == "layer" else moved_d
        normed_d = centred_d / (centred_d.square().mean() + EPS).sqrt() * gain_d.double()
        if bias_d is not None:
            normed_d = normed_d + bias_d.double()
        logits_V = u_Vd.double() @ normed_d
        return logits_V if beta_V is None else logits_V + beta_V.double()

    return unembedding, logits


def count_above(logits_V: Tensor, token: int) -> int:
    return sum(1 for value in logits_V.tolist() if value > logits_V[token].item())


def drawn(seed: int, vocabulary: int = 50, width: int = 12) -> tuple[Tensor, Tensor, Tensor, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    u_Vd = torch.randn(vocabulary, width, generator=generator)
    gain_d = 1 + 0.3 * torch.rand(width, generator=generator)
    return u_Vd, gain_d, torch.randn(width, generator=generator), generator


@pytest.mark.parametrize("family_", ["llama", "gptj"])
def test_the_logit_lens_of_the_last_layer_is_the_models_own_output(family_: str, new_model: Any) -> None:
    model = new_model(family_)
    hidden: list[Tensor] = []
    architecture = adapter_of(model)
    hook = architecture.norm_module(model).register_forward_pre_hook(lambda _module, inputs: hidden.append(inputs[0]))
    with torch.no_grad():
        expected_TV = model(input_ids=torch.tensor([[0, 30, 71, 302, 399]])).logits[0]
        hook.remove()
        got_TV = Unembedding(model, architecture).logits(hidden[0][0])
    torch.testing.assert_close(got_TV, expected_TV, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["rms", "layer"])
@pytest.mark.parametrize("beta", [False, True], ids=["plain", "with a bias"])
def test_the_rest_is_what_moves_the_log_probability_of_all_other_tokens(kind: str, beta: bool) -> None:
    """σ as it is: the same as autograd through the logits, times σ."""
    u_Vd, gain_d, hidden_d, generator = drawn(4, vocabulary=300)
    beta_V = torch.randn(300, generator=generator) if beta else None
    unembedding, _ = make(kind, u_Vd, gain_d, beta_V=beta_V)
    hidden_Nd = torch.stack([hidden_d, 3 * hidden_d.flip(0)])
    for row, token in ((0, 7), (1, 299)):
        rest_d = unembedding.rest(hidden_Nd, torch.tensor([7, 299]))[row]
        r_d = (hidden_Nd[row].double() - (hidden_Nd[row].double().mean() if kind == "layer" else 0)).clone()
        sigma = (r_d.square().mean() + EPS).sqrt()
        step_d = torch.zeros_like(r_d, requires_grad=True)
        moved_d = r_d + step_d - (step_d.mean() if kind == "layer" else 0)
        logits_V = u_Vd.double() @ (moved_d * gain_d.double()) / sigma
        logits_V = logits_V if beta_V is None else logits_V + beta_V.double()
        logits_V[torch.arange(300) != token].logsumexp(0).backward()  # type: ignore[no-untyped-call]  # torch's own
        assert step_d.grad is not None
        torch.testing.assert_close(rest_d, step_d.grad * sigma, rtol=1e-4, atol=1e-5)


def test_the_direction_is_the_pseudo_inverse_applied_to_one_logit() -> None:
    u_Vd, gain_d, _, _ = drawn(1)
    unembedding, _ = make("rms", u_Vd, gain_d)
    tokens_N = torch.tensor([0, 7, 49])
    expected_Nd = torch.linalg.pinv(u_Vd.double()).T[tokens_N] / gain_d.double()
    torch.testing.assert_close(unembedding.directions(tokens_N).double(), expected_Nd, rtol=1e-5, atol=1e-6)


def test_with_layer_norm_the_direction_ignores_what_the_norm_removes() -> None:
    u_Vd, gain_d, _, _ = drawn(2)
    unembedding, _ = make("layer", u_Vd, gain_d)
    gradient_Vd = (u_Vd * gain_d).double()
    gradient_Vd = gradient_Vd - gradient_Vd.mean(1, keepdim=True)
    tokens_N = torch.tensor([0, 7, 49])
    expected_Nd = torch.linalg.pinv(gradient_Vd, rtol=1e-6).T[tokens_N]
    torch.testing.assert_close(unembedding.directions(tokens_N).double(), expected_Nd, rtol=1e-4, atol=1e-6)


def slow_shares(direction_Td: Tensor, gradient_Vd: Tensor, tokens: list[int]) -> list[float]:
    """How far each logit moves along with that of another token, at most, one pair after the other."""
    found = []
    for v, gradient_d in enumerate(gradient_Vd):
        pairs = [(t, direction_d) for t, direction_d in zip(tokens, direction_Td, strict=True) if t != v]
        found.append(max(abs(float(gradient_d @ q_d / (gradient_Vd[t] @ q_d))) for t, q_d in pairs))
    return found


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_logits_that_move_along_weigh_more_and_the_direction_is_the_weighted_pseudo_inverse(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("revs.model.vocabulary._PIECE", 7)  # the vocabulary in several pieces
    monkeypatch.setattr("revs.model.vocabulary._LIGHT", 0.0)
    u_Vd, gain_d, _, _ = drawn(13)
    gradient_Vd = (u_Vd * gain_d).double()
    gradient_Vd = gradient_Vd - gradient_Vd.mean(1, keepdim=True) if kind == "layer" else gradient_Vd
    tokens, plain = [0, 7, 49], make(kind, u_Vd, gain_d)[0]
    shares_V = torch.tensor(slow_shares(plain.directions(torch.tensor(tokens)).double(), gradient_Vd, tokens)).double()
    torch.testing.assert_close(plain.moved_along(torch.tensor(tokens)), shares_V, rtol=1e-4, atol=1e-6)

    isolating, _ = make(kind, u_Vd, gain_d, moved_T=torch.tensor(tokens), isolation=0.5)
    root_V1 = (1 + 0.5 * 50 * shares_V**4 / (shares_V**4).sum()).sqrt()[:, None]
    expected_Vd = torch.linalg.pinv(root_V1 * gradient_Vd, rtol=1e-6).T / root_V1
    torch.testing.assert_close(
        isolating.directions(torch.tensor(tokens)).double(), expected_Vd[tokens], rtol=1e-3, atol=1e-5
    )


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), token=st.integers(0, 49), twin=st.integers(0, 49), isolation=st.floats(0.01, 10))
def test_no_direction_disturbs_the_weighed_logits_less_than_the_isolating_one(
    seed: int, token: int, twin: int, isolation: float
) -> None:
    assume(token != twin)
    u_Vd, gain_d, other_d, generator = drawn(seed)
    u_Vd[twin] = u_Vd[token] + 0.3 * torch.randn(12, generator=generator)
    moved_T = torch.tensor([token])
    plain, isolating = (make("rms", u_Vd, gain_d, moved_T=moved_T, isolation=i)[0] for i in (0.0, isolation))
    along_V = plain.moved_along(moved_T) ** 4
    weight_V = 1 + isolation * 50 * along_V / along_V.sum()

    def disturbance(direction_d: Tensor) -> float:
        moved_V = (u_Vd * gain_d).double() @ direction_d.double()
        return float((weight_V * (moved_V / moved_V[token]).square()).sum())

    least = disturbance(isolating.directions(moved_T)[0])
    for direction_d in (plain.directions(moved_T)[0], u_Vd[token], other_d):
        assert least <= disturbance(direction_d) * (1 + 1e-3)  # light logits are left out


def test_a_logit_that_looks_like_the_target_moves_along_less_the_more_it_is_isolated() -> None:
    u_Vd, gain_d, _, generator = drawn(14)
    u_Vd[7] = u_Vd[5] + 0.3 * torch.randn(12, generator=generator)
    moved_T = torch.tensor([5])
    shares = [
        float(make("rms", u_Vd, gain_d, moved_T=moved_T, isolation=isolation)[0].moved_along(moved_T)[7])
        for isolation in (0.0, 0.1, 1.0)
    ]
    assert shares[0] > 0.5, "it can fail"
    assert shares[0] > shares[1] > shares[2]


def test_without_tokens_to_move_or_without_isolation_all_logits_weigh_alike() -> None:
    u_Vd, gain_d, _, _ = drawn(1)
    tokens_N = torch.tensor([0, 7, 49])
    expected_Nd = make("rms", u_Vd, gain_d)[0].directions(tokens_N)
    for isolating in ({"moved_T": tokens_N, "isolation": 0.0}, {"isolation": 1.0}):
        assert torch.equal(make("rms", u_Vd, gain_d, **isolating)[0].directions(tokens_N), expected_Nd)


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_the_change_of_one_logit_by_the_step_of_another_is_what_the_logits_show(kind: str) -> None:
    u_Vd, gain_d, hidden_d, _ = drawn(12)
    unembedding, _ = make(kind, u_Vd, gain_d)
    tokens_N = torch.tensor([4, 9, 9, 30])
    changes_NN = unembedding.gradients(tokens_N) @ unembedding.directions(tokens_N).double().T
    for j, direction_d in enumerate(unembedding.directions(tokens_N)):
        moved_V = unembedding._project((hidden_d + direction_d)[None])[0] - unembedding._project(hidden_d[None])[0]
        torch.testing.assert_close(changes_NN[:, j].float(), moved_V[tokens_N], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(changes_NN, changes_NN.T)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), token=st.integers(0, 49), kind=st.sampled_from(["rms", "layer"]), beta=st.booleans())
@example(seed=23, token=37, kind="layer", beta=False)  # a token that falls faster: the rank is not monotonous
def test_a_token_is_brought_to_any_rank_from_above_and_from_below(seed: int, token: int, kind: str, beta: bool) -> None:
    u_Vd, gain_d, hidden_d, generator = drawn(seed)
    beta_V = 0.1 * torch.randn(50, generator=generator) if beta else None
    unembedding, logits = make(kind, u_Vd, gain_d, beta_V=beta_V)
    wanted = [1, 5, 20, 40]
    steps_R = unembedding.steps_to_ranks(hidden_d[None], torch.tensor([token]), wanted)[:, 0]
    tried = {count_above(logits(hidden_d, token, c), token) for p in range(-6, 12) for c in (2.0**p, -(2.0**p))}
    for rank, step in zip(wanted, steps_R.tolist(), strict=True):
        got = count_above(logits(hidden_d, token, step), token)
        beyond = count_above(logits(hidden_d, token, step + abs(step) * 1e-2 + 1e-2), token)
        assert got == rank or not min(tried) <= rank <= max(tried) or got > rank >= beyond, (got, rank)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), token=st.integers(0, 49), wanted=st.integers(1, 48), beta=st.booleans())
def test_with_rms_norm_the_step_gives_exactly_the_wanted_rank(seed: int, token: int, wanted: int, beta: bool) -> None:
    u_Vd, gain_d, hidden_d, generator = drawn(seed)
    beta_V = 0.05 * torch.randn(50, generator=generator) if beta else None
    check_step("rms", u_Vd, gain_d, hidden_d, token, wanted, beta_V=beta_V)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), token=st.integers(0, 49), wanted=st.integers(1, 40))
def test_with_layer_norm_and_biases_the_bisection_finds_the_wanted_rank(seed: int, token: int, wanted: int) -> None:
    u_Vd, gain_d, hidden_d, generator = drawn(seed)
    bias_d, beta_V = 0.1 * torch.randn(12, generator=generator), 0.1 * torch.randn(50, generator=generator)
    check_step("layer", u_Vd, gain_d, hidden_d, token, wanted, bias_d=bias_d, beta_V=beta_V)


def check_step(
    kind: str, u_Vd: Tensor, gain_d: Tensor, hidden_d: Tensor, token: int, wanted: int, **offsets: Tensor | None
) -> None:
    unembedding, logits = make(kind, u_Vd, gain_d, **offsets)
    before = count_above(logits(hidden_d, token, 0.0), token)
    found = unembedding.step_to_rank(hidden_d[None], torch.tensor([token]), wanted=wanted)
    step = float(found.step_N)
    logits_V = logits(hidden_d, token, step)
    others_V = torch.cat([logits_V[:token], logits_V[token + 1 :]])
    assume(float((others_V - logits_V[token]).abs().min()) > 1e-5)  # nearer than that, float32 decides
    assert step <= 0
    assert int(found.rank_N) == count_above(logits_V, token)
    tried = [count_above(logits(hidden_d, token, -(2.0**power)), token) for power in range(-12, 24)]
    if before >= wanted:
        assert step == 0
    elif bool(found.reached_N):
        falls_fastest = bool((unembedding._project(unembedding.directions(torch.tensor([token])))[0].argmax()) == token)
        assert count_above(logits_V, token) == wanted or (not falls_fastest and count_above(logits_V, token) > wanted)
    else:
        assert step == 0
        assert max(tried) < wanted, "a step that reaches the rank exists, but was not found"


def test_a_rank_between_two_equal_rows_cannot_be_hit_and_the_next_one_is_taken() -> None:
    u_Vd, gain_d, hidden_d, _ = drawn(3)
    u_Vd[20:40] = u_Vd[:20]  # twenty pairs of tokens that always rank together
    unembedding, logits = make("rms", u_Vd, gain_d)
    token = 45
    free = [rank for rank in range(1, 40) if count_above(logits(hidden_d, token, 0.0), token) < rank]
    got = [unembedding.step_to_rank(hidden_d[None], torch.tensor([token]), wanted=rank) for rank in free]
    hits = [int(step.rank_N) - rank for step, rank in zip(got, free, strict=True)]
    assert set(hits) == {0, 1}, "some ranks lie inside a pair, and those are overshot by one"
    assert all(bool(step.reached_N) for step in got)


def test_a_token_never_sinks_below_its_own_twin() -> None:
    u_Vd, gain_d, hidden_d, _ = drawn(4)
    u_Vd[30] = u_Vd[5]
    unembedding, _ = make("rms", u_Vd, gain_d)
    last = unembedding.step_to_rank(hidden_d[None], torch.tensor([5]), wanted=49)
    assert not bool(last.reached_N)
    assert float(last.step_N) == 0
    assert int(last.rank_N) == int(unembedding.ranks(hidden_d[None], torch.tensor([5])))
    assert bool(unembedding.step_to_rank(hidden_d[None], torch.tensor([5]), wanted=48).reached_N)


def test_tokens_that_fall_faster_than_the_target_are_counted_right() -> None:
    u_Vd, gain_d, hidden_d, _ = drawn(5)
    u_Vd[6], u_Vd[8] = 3 * u_Vd[5], 2 * u_Vd[5]  # h_v > h_t for both
    hidden_d = u_Vd[5] / gain_d
    unembedding, logits = make("rms", u_Vd, gain_d)
    assert count_above(logits(hidden_d, 5, 0.0), 5) >= 2, "both rank above the target at first"
    for wanted in (5, 20, 40, 47):
        found = unembedding.step_to_rank(hidden_d[None], torch.tensor([5]), wanted=wanted)
        assert bool(found.reached_N)
        assert count_above(logits(hidden_d, 5, float(found.step_N)), 5) == wanted
    assert not bool(unembedding.step_to_rank(hidden_d[None], torch.tensor([5]), wanted=48).reached_N)


def test_a_rank_that_a_logit_bias_forbids_is_reported_and_not_faked() -> None:
    u_Vd, gain_d, hidden_d, _ = drawn(6)
    beta_V = torch.zeros(50)
    beta_V[9] = 1000.0
    unembedding, _ = make("layer", u_Vd, gain_d, beta_V=beta_V)
    found = unembedding.step_to_rank(hidden_d[None], torch.tensor([9]), wanted=10)
    assert (bool(found.reached_N), float(found.step_N), int(found.rank_N)) == (False, 0.0, 0)


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_the_step_of_a_row_does_not_depend_on_the_other_rows(kind: str) -> None:
    u_Vd, gain_d, _, generator = drawn(7)
    u_Vd[20:40] = u_Vd[:20]  # rows that cannot be hit exactly keep the search going for all
    hidden_Nd, tokens_N = torch.randn(30, 12, generator=generator), torch.arange(15, 45)
    unembedding, _ = make(kind, u_Vd, gain_d, beta_V=0.1 * torch.randn(50, generator=generator))
    together = unembedding.step_to_rank(hidden_Nd, tokens_N, wanted=25)
    alone = [unembedding.step_to_rank(h[None], t[None], wanted=25) for h, t in zip(hidden_Nd, tokens_N, strict=True)]
    torch.testing.assert_close(together.step_N, torch.cat([step.step_N for step in alone]), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", ["rms", "layer"])
def test_rounding_the_step_to_float32_does_not_lose_the_rank(kind: str) -> None:
    u_Vd, gain_d, _, generator = drawn(8)
    u_Vd[20:40] = u_Vd[:20]
    hidden_Nd, tokens_N = torch.randn(30, 12, generator=generator), torch.arange(15, 45)
    unembedding, _ = make(kind, u_Vd, gain_d, beta_V=0.01 * torch.randn(50, generator=generator))
    found = unembedding.step_to_rank(hidden_Nd, tokens_N, wanted=25)
    moved_Nd = hidden_Nd + found.step_N.float()[:, None] * unembedding.directions(tokens_N)
    exact_N = found.rank_N == 25
    assert int(exact_N.sum()) > 10
    assert unembedding.ranks(moved_Nd[exact_N], tokens_N[exact_N]).tolist() == [25] * int(exact_N.sum())


@pytest.mark.parametrize("wanted", [-1, 0, 50, 51])
def test_a_rank_outside_the_vocabulary_is_refused_with_its_bounds(wanted: int) -> None:
    u_Vd, gain_d, hidden_d, _ = drawn(9)
    unembedding, _ = make("rms", u_Vd, gain_d)
    with pytest.raises(BadInput, match=rf"{wanted} is outside 1 … 49"):
        unembedding.step_to_rank(hidden_d[None], torch.tensor([1]), wanted=wanted)


def test_a_damaged_unembedding_is_refused() -> None:
    u_Vd, gain_d, _, _ = drawn(10)
    u_Vd[3, 3] = torch.nan
    with pytest.raises(BadInput, match="NaN"):
        make("rms", u_Vd, gain_d)


def test_fewer_tokens_than_hidden_dimensions_still_give_a_direction() -> None:
    u_Vd, gain_d, hidden_d, _ = drawn(11, vocabulary=8, width=12)
    unembedding, logits = make("rms", u_Vd, gain_d)
    found = unembedding.step_to_rank(hidden_d[None], torch.tensor([2]), wanted=6)
    assert count_above(logits(hidden_d, 2, float(found.step_N)), 2) >= 6


RANKS = [
    # logits, token, rank, why
    ([3.0, 2.0, 1.0], 0, 0, "the largest has rank 0"),
    ([3.0, 2.0, 1.0], 2, 2, "the smallest has rank V − 1"),
    ([2.0, 2.0, 1.0], 0, 0, "an equal logit is not larger"),
    ([2.0, 2.0, 1.0], 1, 0, "nor for the other of the two"),
    ([1.0, 1.0, 1.0], 2, 0, "all equal: all have rank 0"),
    ([-1.0, -2.0, -1.0], 1, 2, "ties above the token both count"),
]


@pytest.mark.parametrize(("logits", "token", "rank", "why"), RANKS, ids=[row[-1] for row in RANKS])
def test_the_rank_counts_strictly_larger_logits(logits: list[float], token: int, rank: int, why: str) -> None:
    assert int(rank_of(torch.tensor([logits]), torch.tensor([token]))) == rank, why
