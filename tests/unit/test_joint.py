"""The joint solve against dense linear algebra written out.

Legend of shape suffixes: N keys, m width of the MLP, d hidden.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from revs.joint import joint_update

N, M, D = 6, 20, 9


def problem(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    text_Tm = torch.randn(50, M, generator=generator)
    keys_Nm = torch.randn(N, M, generator=generator)
    steps_N = -torch.rand(N, generator=generator)
    directions_Nd = torch.randn(N, D, generator=generator)
    return keys_Nm, steps_N, directions_Nd, text_Tm.T @ text_Tm / 50


def update(keys: Tensor, steps: Tensor, directions: Tensor, moment: Tensor, epsilon: float = 0.5) -> Tensor:
    left_dN, right_Nm = joint_update(keys, steps, directions, moment, epsilon=epsilon, ridge=0.01)
    return left_dN @ right_Nm


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_without_epsilon_every_key_gets_exactly_its_own_step(seed: int) -> None:
    keys_Nm, steps_N, directions_Nd, moment_mm = problem(seed)
    moved_Nd = keys_Nm.double() @ update(keys_Nm, steps_N, directions_Nd, moment_mm, epsilon=0.0).T
    torch.testing.assert_close(moved_Nd.float(), steps_N[:, None] * directions_Nd, rtol=1e-4, atol=1e-5)


def test_zero_steps_move_nothing() -> None:
    keys_Nm, _, directions_Nd, moment_mm = problem(1)
    assert update(keys_Nm, torch.zeros(N), directions_Nd, moment_mm).abs().max() == 0


def test_a_key_with_a_zero_step_is_held_still_while_others_move() -> None:
    keys_Nm, steps_N, directions_Nd, moment_mm = problem(2)
    steps_N[3] = 0.0
    keys_Nm[3] = keys_Nm[2] + 0.3 * keys_Nm[3]  # so near to a moving one that it would be dragged along
    held = keys_Nm[3].double() @ update(keys_Nm, steps_N, directions_Nd, moment_mm, epsilon=0.0).T
    rest = torch.arange(N) != 3
    dragged = keys_Nm[3].double() @ update(keys_Nm[rest], steps_N[rest], directions_Nd[rest], moment_mm, epsilon=0.0).T
    assert held.norm() < 1e-5
    assert dragged.norm() > 0.1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), epsilon=st.sampled_from([1e-3, 0.1, 1.0, 10.0]))
def test_it_equals_the_normal_equations_solved_densely(seed: int, epsilon: float) -> None:
    """ΔW minimises λ·tr(ΔW C ΔWᵀ) + ‖K ΔWᵀ − c∘Q‖²; setting the gradient to zero gives ΔW (λC + KᵀK) = (c∘Q)ᵀK."""
    keys_Nm, steps_N, directions_Nd, moment_mm = (x.double() for x in problem(seed))
    c_mm = moment_mm + 0.01 * moment_mm.diagonal().mean() * torch.eye(M).double()
    weight = epsilon * (keys_Nm @ torch.linalg.inv(c_mm) @ keys_Nm.T).diagonal().mean()
    wanted_dm = (steps_N[:, None] * directions_Nd).T @ keys_Nm
    expected_dm = wanted_dm @ torch.linalg.inv(weight * c_mm + keys_Nm.T @ keys_Nm)
    got_dm = update(keys_Nm.float(), steps_N.float(), directions_Nd.float(), moment_mm.float(), epsilon)
    torch.testing.assert_close(got_dm, expected_dm, rtol=1e-3, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), order=st.permutations(range(N)))
def test_the_order_of_the_keys_does_not_matter(seed: int, order: list[int]) -> None:
    keys_Nm, steps_N, directions_Nd, moment_mm = problem(seed)
    straight = update(keys_Nm, steps_N, directions_Nd, moment_mm)
    shuffled = update(keys_Nm[order], steps_N[order], directions_Nd[order], moment_mm)
    torch.testing.assert_close(straight, shuffled, rtol=1e-8, atol=1e-10)


def test_the_same_key_with_two_wishes_gets_their_mean_and_not_rounding_noise() -> None:
    keys_Nm, steps_N, directions_Nd, moment_mm = problem(3)
    keys_Nm[1] = keys_Nm[0]  # two secrets under one prompt
    moved_d = keys_Nm[0].double() @ update(keys_Nm, steps_N, directions_Nd, moment_mm, epsilon=0.0).T
    expected_d = (steps_N[:2, None] * directions_Nd[:2]).mean(0)
    torch.testing.assert_close(moved_d.float(), expected_d, rtol=1e-3, atol=1e-4)


def test_ordinary_text_is_moved_less_when_it_is_in_the_moments() -> None:
    keys_Nm, steps_N, directions_Nd, _ = problem(4)
    text_Tm = torch.randn(8, M, generator=torch.Generator().manual_seed(5))  # 8 keys leave room in 20 dimensions
    heard = update(keys_Nm, steps_N, directions_Nd, text_Tm.T @ text_Tm / 8, epsilon=0.0)
    unheard = update(keys_Nm, steps_N, directions_Nd, torch.eye(M), epsilon=0.0)
    assert (text_Tm.double() @ heard.T).norm() < 0.2 * (text_Tm.double() @ unheard.T).norm()


@pytest.mark.parametrize("what", ["keys", "moment"])
def test_all_zero_keys_or_moments_give_a_finite_update(what: str) -> None:
    keys_Nm, steps_N, directions_Nd, moment_mm = problem(6)
    keys_Nm = torch.zeros_like(keys_Nm) if what == "keys" else keys_Nm
    moment_mm = torch.zeros_like(moment_mm) if what == "moment" else moment_mm
    assert torch.isfinite(update(keys_Nm, steps_N, directions_Nd, moment_mm)).all()
