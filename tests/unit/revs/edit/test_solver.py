"""The joint solve against its own definition: the conditions of an optimum, and a general-purpose optimiser.

Legend of shape suffixes: N keys, m width of the key, d hidden, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize
from torch import Tensor

from revs.edit.solver import bounded_multipliers, joint_update

N, M, D, V = 6, 20, 9, 30


@dataclass
class Problem:
    keys_Nm: Tensor
    rows_Nd: Tensor  # u_i of each key's token
    metric_dd: Tensor  # UᵀU
    lower_N: Tensor
    upper_N: Tensor
    moment_mm: Tensor

    def update(self, epsilon: float | Tensor = 0.0, ridge: float = 0.01) -> Tensor:
        inverse_dd = torch.linalg.inv(self.metric_dd)
        left_dN, right_Nm = joint_update(
            self.keys_Nm,
            self.rows_Nd @ inverse_dd,
            self.rows_Nd @ inverse_dd @ self.rows_Nd.T,
            self.lower_N,
            self.upper_N,
            self.moment_mm,
            epsilon=epsilon,
            ridge=ridge,
        )
        return left_dN @ right_Nm

    def moved(self, update_dm: Tensor) -> Tensor:
        """Change of each token's logit at its own key."""
        return ((self.keys_Nm @ update_dm.T) * self.rows_Nd).sum(1)

    def cost(self, update_dm: Tensor) -> float:
        """E‖U ΔW k‖² over the keys of the text, with the ridge that keeps C invertible."""
        c_mm = self.moment_mm + 0.01 * self.moment_mm.diagonal().mean() * torch.eye(len(self.moment_mm)).double()
        return float(torch.trace(self.metric_dd @ update_dm @ c_mm @ update_dm.T))


def problem(seed: int, n: int = N, m: int = M, d: int = D) -> Problem:
    g = torch.Generator().manual_seed(seed)
    u_Vd = torch.randn(V, d, generator=g).double()
    text_Tm = torch.randn(50, m, generator=g).double()
    upper_N = torch.where(torch.rand(n, generator=g) < 0.7, -torch.rand(n, generator=g), torch.rand(n, generator=g))
    return Problem(
        keys_Nm=torch.randn(n, m, generator=g).double(),
        rows_Nd=u_Vd[torch.randint(0, V, (n,), generator=g)],
        metric_dd=u_Vd.T @ u_Vd,
        lower_N=(upper_N - torch.rand(n, generator=g)).double(),
        upper_N=upper_N.double(),
        moment_mm=text_Tm.T @ text_Tm / 50,
    )


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_without_epsilon_every_logit_lands_between_its_bounds(seed: int) -> None:
    p = problem(seed)
    moved_N = p.moved(p.update())
    assert (moved_N <= p.upper_N + 1e-5).all()
    assert (moved_N >= p.lower_N - 1e-5).all()


@pytest.mark.parametrize("seed", range(5))
def test_no_other_change_within_the_bounds_costs_less(seed: int) -> None:
    """The definition, given to a general optimiser that knows nothing of multipliers."""
    p = problem(seed, n=3, m=4, d=3)
    rows = torch.einsum("nd,nm->ndm", p.rows_Nd, p.keys_Nm).reshape(3, -1).numpy()
    found = minimize(
        lambda flat: p.cost(torch.from_numpy(flat).reshape(3, 4)),
        np.zeros(12),
        constraints=LinearConstraint(rows, p.lower_N.numpy(), p.upper_N.numpy()),
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    ours = p.update()
    assert p.cost(ours) == pytest.approx(found.fun, rel=1e-4, abs=1e-6)


def test_bounds_that_allow_standing_still_move_nothing() -> None:
    p = problem(1)
    p.lower_N, p.upper_N = -torch.rand(N).double(), torch.rand(N).double()
    assert p.update().abs().max() == 0


def test_a_key_that_must_stay_is_held_while_its_neighbour_moves() -> None:
    p = problem(2)
    p.rows_Nd[3] = p.rows_Nd[2]  # the same token …
    p.keys_Nm[3] = p.keys_Nm[2] + 0.3 * p.keys_Nm[3]  # … at a key so near that it would be dragged along
    p.lower_N[2:4], p.upper_N[2:4] = torch.tensor([-2.0, 0.0]).double(), torch.tensor([-1.0, 0.0]).double()
    assert p.moved(p.update())[3].abs() < 1e-5
    p.lower_N[3], p.upper_N[3] = -torch.inf, torch.inf
    assert p.moved(p.update())[3] < -0.1


def test_two_tokens_at_one_key_both_get_all_of_their_way() -> None:
    """A solve that asks for whole vectors gives each of them the half."""
    p = problem(3)
    p.keys_Nm[1] = p.keys_Nm[0]
    p.lower_N[:2], p.upper_N[:2] = -2.0, -1.0
    assert (p.moved(p.update())[:2] <= -1 + 1e-5).all()


def test_a_larger_epsilon_moves_less_and_shares_more() -> None:
    p = problem(4)
    moved = [float(p.moved(p.update(epsilon)).clamp_max(0).abs().sum()) for epsilon in (0.0, 0.1, 1.0, 10.0)]
    assert moved == sorted(moved, reverse=True)
    assert moved[-1] < 0.3 * moved[0]


def test_a_key_held_hard_keeps_its_bound_where_a_soft_one_gives_way() -> None:
    p = problem(4)
    p.rows_Nd[1], p.keys_Nm[1] = p.rows_Nd[0], p.keys_Nm[0] + 0.1 * p.keys_Nm[1]  # nearly one key, and one token
    p.lower_N[:2], p.upper_N[:2] = torch.tensor([-2.0, 0.0]).double(), torch.tensor([-1.0, torch.inf]).double()
    soft_N = torch.full((N,), 0.3)
    hard_N = soft_N.clone()
    hard_N[1] = 1e-3
    assert p.moved(p.update(soft_N))[1] < -0.1
    assert p.moved(p.update(hard_N))[1] > -0.01


def test_one_key_that_must_both_fall_and_stay_gives_a_small_finite_update() -> None:
    p = problem(4)
    p.rows_Nd[1], p.keys_Nm[1] = p.rows_Nd[0], p.keys_Nm[0]
    p.lower_N[:2], p.upper_N[:2] = torch.tensor([-2.0, 0.0]).double(), torch.tensor([-1.0, torch.inf]).double()
    update = p.update(torch.tensor([0.03, 1e-3, *[0.03] * (N - 2)]))
    assert torch.isfinite(update).all()
    assert p.moved(update)[:2].abs().max() < 0.1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), order=st.permutations(range(N)))
def test_the_order_of_the_keys_does_not_matter(seed: int, order: list[int]) -> None:
    p = problem(seed)
    straight = p.update(epsilon=0.1)
    p.keys_Nm, p.rows_Nd, p.lower_N, p.upper_N = (x[order] for x in (p.keys_Nm, p.rows_Nd, p.lower_N, p.upper_N))
    torch.testing.assert_close(p.update(epsilon=0.1), straight, rtol=1e-8, atol=1e-10)


def test_ordinary_text_is_moved_less_when_it_is_in_the_moments() -> None:
    p = problem(5)
    text_Tm = torch.randn(8, M, generator=torch.Generator().manual_seed(5)).double()  # leaves room in 20 dimensions
    unheard_dm, p.moment_mm = problem(5).update(), text_Tm.T @ text_Tm / 8
    assert (text_Tm @ p.update().T).norm() < 0.2 * (text_Tm @ unheard_dm.T).norm()


@pytest.mark.parametrize("what", ["keys", "moment", "rows"])
def test_all_zero_inputs_give_a_finite_update(what: str) -> None:
    p = problem(6)
    name = {"keys": "keys_Nm", "moment": "moment_mm", "rows": "rows_Nd"}[what]
    setattr(p, name, torch.zeros_like(getattr(p, name)))
    assert torch.isfinite(p.update(epsilon=0.1)).all()


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 40), rank=st.integers(1, 40), equal=st.booleans())
def test_the_multipliers_meet_the_conditions_of_an_optimum(seed: int, n: int, rank: int, equal: bool) -> None:
    """Nearly singular matrices too: few directions shared by many rows, where exchanging all at once may cycle."""
    g = torch.Generator().manual_seed(seed)
    factor = torch.randn(n, rank, generator=g).double()
    gram_NN = factor @ factor.T + 1e-3 * torch.eye(n).double()
    upper_N = torch.randn(n, generator=g).double()
    lower_N = upper_N if equal else upper_N - torch.rand(n, generator=g)
    multipliers_N = bounded_multipliers(gram_NN, lower_N, upper_N)
    moved_N = gram_NN @ multipliers_N
    assert (moved_N <= upper_N + 1e-6).all()
    assert (moved_N >= lower_N - 1e-6).all()
    assert (moved_N[multipliers_N < 0] >= upper_N[multipliers_N < 0] - 1e-6).all()
    assert (moved_N[multipliers_N > 0] <= lower_N[multipliers_N > 0] + 1e-6).all()


def slow_multipliers(gram_NN: Tensor, lower_N: Tensor, upper_N: Tensor) -> Tensor:
    """Try every choice of bounds to hold, in float64; one of them alone meets all conditions where A is definite."""
    for sides in product((0, -1, 1), repeat=len(lower_N)):
        side_N = torch.tensor(sides)
        held = side_N.nonzero().flatten()
        multipliers_N = torch.zeros_like(lower_N)
        bound_H = torch.where(side_N < 0, upper_N, lower_N)[held]
        multipliers_N[held] = torch.linalg.solve(gram_NN[held][:, held], bound_H)
        moved_N = gram_NN @ multipliers_N
        kept = ((moved_N <= upper_N + 1e-8) & (moved_N >= lower_N - 1e-8)).all()
        if kept and (side_N * multipliers_N >= -1e-8).all():
            return multipliers_N
    raise AssertionError("no choice of bounds meets the conditions")


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 5))
def test_with_nothing_added_to_the_matrix_the_multipliers_are_the_slow_ones(seed: int, n: int) -> None:
    """ε = 0: nothing on the diagonal but the matrix itself."""
    g = torch.Generator().manual_seed(seed)
    factor = torch.randn(n, n + 2, generator=g).double()
    gram_NN = factor @ factor.T
    upper_N = torch.randn(n, generator=g).double()
    lower_N = upper_N - torch.rand(n, generator=g)
    multipliers_N = bounded_multipliers(gram_NN, lower_N, upper_N)
    slow_N = slow_multipliers(gram_NN, lower_N, upper_N)
    torch.testing.assert_close(gram_NN @ multipliers_N, gram_NN @ slow_N, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(multipliers_N, slow_N, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_without_epsilon_a_key_given_twice_moves_as_given_once(seed: int) -> None:
    """The matrix is singular then: what is asked twice is asked once."""
    once, twice = problem(seed, n=3), problem(seed, n=3)
    twice.keys_Nm, twice.rows_Nd, twice.lower_N, twice.upper_N = (
        x[[0, 1, 2, 0]] for x in (once.keys_Nm, once.rows_Nd, once.lower_N, once.upper_N)
    )
    c_mm = once.moment_mm + 0.01 * once.moment_mm.diagonal().mean() * torch.eye(M).double()
    gram_NN = (once.keys_Nm @ torch.linalg.inv(c_mm) @ once.keys_Nm.T) * (
        once.rows_Nd @ torch.linalg.inv(once.metric_dd) @ once.rows_Nd.T
    )
    expected_N = gram_NN @ slow_multipliers(gram_NN, once.lower_N, once.upper_N)
    torch.testing.assert_close(once.moved(once.update(0.0)), expected_N, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(twice.moved(twice.update(0.0)), expected_N[[0, 1, 2, 0]], rtol=1e-5, atol=1e-5)
