"""A patch as a value: equality, size, what it refuses, and that a damaged one leaves a model as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import revs
from revs.errors import BadInput, OperationFailed
from revs.patch.changes import Changes

Digests = Callable[[Any], dict[str, str]]
NAMES = [f"model.layers.{layer}.mlp.down_proj.weight" for layer in range(3)]


def edited(weights: dict[str, Tensor], *, seed: int = 0, rank: int = 2) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)

    def update(weight: Tensor) -> Tensor:
        return torch.randn(weight.shape[0], rank, generator=draw) @ torch.randn(rank, weight.shape[1], generator=draw)

    return {name: (weight + 0.01 * update(weight)).to(weight.dtype) for name, weight in weights.items()}


def made(before: dict[str, Tensor], after: dict[str, Tensor], **options: Any) -> revs.Patch:
    return revs.Patch.between(before, after, **{"method": "revs", "config": {}, **options})


@pytest.fixture
def base(new_model: Any) -> Any:
    return new_model("llama")


@pytest.fixture
def weights(base: Any) -> dict[str, Tensor]:
    return {name: base.get_parameter(name).detach().clone() for name in NAMES}


def test_patches_are_equal_when_they_do_the_same(weights: dict[str, Tensor]) -> None:
    after = edited(weights)
    patch = made(weights, after)
    same = made(weights, after, method="another", sweeps=3, factors={NAMES[0]: (torch.ones(32, 1), torch.ones(1, 64))})
    assert patch == same
    assert hash(patch) == hash(same)
    assert len({patch, same}) == 1
    one_bit = {name: weight.clone() for name, weight in after.items()}
    one_bit[NAMES[2]].view(torch.int32)[3, 3] ^= 1
    for other in (made(weights, one_bit), made(after, weights), made({}, {}), made(weights, edited(weights, seed=1))):
        assert patch != other
    assert patch != "a patch"


def test_only_weights_that_change_are_named_and_take_space(weights: dict[str, Tensor]) -> None:
    after = edited(weights) | {NAMES[1]: weights[NAMES[1]]}
    patch = made(weights, after)
    assert patch.weights == (NAMES[0], NAMES[2])
    assert patch.nbytes == sum(patch.changes[name].nbytes for name in patch.weights) > 0
    assert patch == made(
        {NAMES[0]: weights[NAMES[0]], NAMES[2]: weights[NAMES[2]]}, {n: after[n] for n in patch.weights}
    )


def test_the_file_is_about_as_large_as_the_patch_says(weights: dict[str, Tensor], tmp_path: Path) -> None:
    patch = made(weights, edited(weights))
    folder = patch.save(tmp_path / "patch")
    assert patch.nbytes <= (folder / "patch.safetensors").stat().st_size <= patch.nbytes + 2000
    assert patch.nbytes < sum(weight.numel() * weight.element_size() for weight in weights.values()) / 2


def flip(tensor: Tensor) -> Tensor:
    return torch.cat([tensor[:-6], tensor[-6:-5] ^ 1, tensor[-5:]])


@pytest.mark.parametrize("part", ["left", "right", "corrections", "differences", "exponent", "edited"])
def test_a_patch_damaged_in_its_last_weight_leaves_the_model_as_it_was(
    part: str, base: Any, weights: dict[str, Tensor], digests: Digests
) -> None:
    patch = made(weights, edited(weights))
    last = patch.changes[NAMES[2]]
    assert last.rank
    value = getattr(last, part)
    damaged = {"exponent": last.exponent + 1, "edited": f"sha256:{'0' * 64}"}.get(part)
    change = replace(last, **{part: flip(value) if damaged is None else damaged})
    planted = replace(patch, changes=Changes({**patch.changes, NAMES[2]: change}))
    before = digests(base)
    with pytest.raises((OperationFailed, BadInput)) as caught:
        planted.apply(base)
    assert "\n" not in str(caught.value)
    assert digests(base) == before
    patch.apply(base)
    assert digests(base) != before
    patch.revert(base)
    assert digests(base) == before


def test_sides_that_do_not_fit_are_refused(weights: dict[str, Tensor]) -> None:
    after = edited(weights)
    weight = weights[NAMES[0]]
    table: list[tuple[dict[str, Tensor], dict[str, Tensor], str]] = [
        (weights, {name: after[name] for name in NAMES[:2]}, f"{NAMES[2]} is given on one side"),
        ({"w": weight}, {"w": weight[:3]}, "of one shape and dtype"),
        ({"w": weight}, {"w": weight.bfloat16()}, "of one shape and dtype"),
        ({"w": torch.ones(2, dtype=torch.int64)}, {"w": torch.ones(2, dtype=torch.int64)}, "give floating-point"),
    ]
    for before, other, message in table:
        with pytest.raises(BadInput, match=message):
            made(before, other)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
    rank=st.integers(1, 40),
    seed=st.integers(0, 99),
)
def test_saving_loses_nothing(
    dtype: torch.dtype, rank: int, seed: int, new_model: Any, digests: Digests, tmp_path_factory: Any
) -> None:
    model = new_model("llama", seed=seed, layers=1).to(dtype)
    before = {NAMES[0]: model.get_parameter(NAMES[0]).detach().clone()}
    after = edited(before, seed=seed, rank=rank)
    patch = made(before, after, sweeps=2, seconds=0.5)
    loaded = revs.Patch.load(patch.save(tmp_path_factory.mktemp("patch") / "p"))
    assert (loaded, loaded.nbytes, loaded.sweeps, loaded.seconds) == (patch, patch.nbytes, 2, 0.5)
    old = digests(model)
    loaded.apply(model)
    assert torch.equal(model.get_parameter(NAMES[0]).detach(), after[NAMES[0]])
    loaded.revert(model)
    assert digests(model) == old
