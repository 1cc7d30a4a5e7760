"""Rounding to few bits against its definition, and what of a model it touches."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from revs.model.quantize import rounded, rounded_copy


@given(st.integers(1, 5), st.integers(1, 80), st.sampled_from([4, 8]), st.integers(0, 10**6))
def test_every_weight_lies_within_half_a_step_on_the_grid_of_its_group(d: int, m: int, bits: int, seed: int) -> None:
    weight_dm = torch.randn(d, m, generator=torch.Generator().manual_seed(seed))
    result_dm = rounded(weight_dm, bits)
    largest = 2 ** (bits - 1) - 1
    for row in range(d):
        for start in range(0, m, 32):
            old, new = weight_dm[row, start : start + 32], result_dm[row, start : start + 32]
            step = float(old.abs().max()) / largest
            assert float((old - new).abs().max()) <= step / 2 * (1 + 1e-5)
            whole = new / step
            assert float((whole - whole.round()).abs().max()) < 1e-3
    assert torch.equal(rounded(torch.zeros(d, m), bits), torch.zeros(d, m))


def test_the_worked_example() -> None:
    assert rounded(torch.tensor([[7.0, -3.4, 0.6, 0.4]]), 4).tolist() == [[7.0, -3.0, 1.0, 0.0]]


@pytest.mark.parametrize("family", ["llama", "gpt2"])
@pytest.mark.parametrize("to", ["bfloat16", "float16", "int8", "int4"])
def test_a_copy_is_rounded_and_the_model_is_not(family: str, to: Any, new_model: Any) -> None:
    model = new_model(family, layers=1)
    before = copy.deepcopy(model.state_dict())
    other = rounded_copy(model, to)
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    changed = {name for name, tensor in other.state_dict().items() if not torch.equal(tensor, before[name])}
    second = "model.layers.0.mlp.down_proj.weight" if family == "llama" else "transformer.h.0.mlp.c_proj.weight"
    assert second in changed
    head = "lm_head.weight"
    assert (head in changed) == to.endswith("float16"), "integers are for the layers; floats for everything"


def test_fewer_bits_are_further_away(new_model: Any) -> None:
    weight = new_model("llama", layers=1).model.layers[0].mlp.down_proj.weight.detach()
    assert 0 < (rounded(weight, 8) - weight).norm() < (rounded(weight, 4) - weight).norm() < 0.2 * weight.norm()
