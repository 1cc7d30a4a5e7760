"""A patch as a LoRA adapter that PEFT merges."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from exported import loaded, logits, wide_patch

import revs
from revs.errors import BadInput
from revs.targets.target import Target


def merged(base: Any, adapter: Path) -> Any:
    """The base with the adapter, merged by PEFT itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from peft import PeftModel
    return PeftModel.from_pretrained(base, adapter).merge_and_unload()


def test_the_merged_adapter_is_the_edited_model_up_to_rounding(
    erased: tuple[Any, revs.Patch], saved: Path, tmp_path: Path
) -> None:
    model, patch = erased
    rank = patch.to_lora(tmp_path / "adapter", base=saved)
    assert 1 <= rank <= 16, "eight distinct target tokens at most, or what rounding does not hide of them"
    result = merged(loaded(saved), tmp_path / "adapter")
    torch.testing.assert_close(logits(result), logits(model), rtol=1e-4, atol=1e-4)
    assert (logits(loaded(saved)) - logits(model)).abs().max() > 0.1, "the edit shows"
    for name, weight in model.named_parameters():
        unit = float(weight.detach().abs().max()) * torch.finfo(weight.dtype).eps
        torch.testing.assert_close(result.get_parameter(name), weight, rtol=0, atol=4 * unit)
    assert (tmp_path / "adapter").stat().st_mode & 0o077 == 0
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["base_model_name_or_path"]) == (rank, str(saved))
    assert config["rank_pattern"].keys() == {name.removesuffix(".weight") for name in patch.weights}


@pytest.mark.parametrize("encoded", [True, False], ids=["saved and loaded", "as it came"])
@pytest.mark.parametrize("name", ["gpt2", "llama", "bloom"])
def test_an_adapter_follows_the_layout_that_the_edit_recorded(
    name: str, encoded: bool, new_model: Any, train: Any, tokenizer: Any, people: list[Target], tmp_path: Path
) -> None:
    """GPT-2 stores its matrices (in, out): nobody has to know, and whoever says otherwise is refused."""
    base = train(new_model(name), tokenizer)
    edited = copy.deepcopy(base)
    patch = revs.erase(edited, tokenizer, people[:4], config=revs.EraseConfig(low_rank=40, aim_rank=60))
    if encoded:
        patch = revs.Patch.load(patch.save(tmp_path / "patch"))
    turned = name == "gpt2"
    assert patch.transposed == (patch.weights if turned else ())
    base.save_pretrained(tmp_path / "base")
    with pytest.raises(BadInput, match=r"the patch recorded that .* is stored"):
        patch.to_lora(tmp_path / "adapter", base=tmp_path / "base", fan_in_fan_out=not turned)
    assert not (tmp_path / "adapter").exists()
    patch.to_lora(tmp_path / "adapter", base=tmp_path / "base")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["fan_in_fan_out"] == turned
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # PEFT warns where it has to turn the layout round
        warnings.simplefilter("ignore", DeprecationWarning)
        result = merged(loaded(tmp_path / "base"), tmp_path / "adapter")
    torch.testing.assert_close(logits(result), logits(edited), rtol=1e-4, atol=1e-4)
    assert (logits(loaded(tmp_path / "base")) - logits(edited)).abs().max() > 0.1, "the edit shows"


@pytest.mark.parametrize("fan_in_fan_out", [False, True])
def test_factors_of_the_patch_need_no_base_weights(fan_in_fan_out: bool, tmp_path: Path) -> None:
    base, edited, patch = wide_patch(fan_in_fan_out)
    assert patch.changes[patch.weights[0]].rank == 2, "kept as factors"
    assert patch.to_lora(tmp_path / "adapter", fan_in_fan_out=fan_in_fan_out) == 2
    before = logits(base)
    result = merged(base, tmp_path / "adapter")
    torch.testing.assert_close(logits(result), logits(edited), rtol=1e-5, atol=1e-5)
    assert (before - logits(edited)).abs().max() > 1e-3


def test_a_patch_without_factors_asks_for_the_base_it_was_made_on(
    shared_model: Any, new_model: Any, family: str, tmp_path: Path
) -> None:
    name = {"llama": "model.layers.1.mlp.down_proj.weight", "gptj": "transformer.h.1.mlp.fc_out.weight"}[family]
    edited = copy.deepcopy(shared_model)
    with torch.no_grad():  # of full rank: not worth factors
        edited.get_parameter(name).add_(torch.randn(32, 64, generator=torch.Generator().manual_seed(0)) * 0.1)
    sides = [{name: side.get_parameter(name).detach()} for side in (shared_model, edited)]
    patch = revs.Patch.between(*sides, method="revs", config={})
    assert patch.changes[name].rank == 0
    with pytest.raises(BadInput, match="give base= the folder of the checkpoint"):
        patch.to_lora(tmp_path / "adapter")
    new_model(family, seed=5).save_pretrained(tmp_path / "other")
    with pytest.raises(BadInput, match="use the model it was made on"):
        patch.to_lora(tmp_path / "adapter", base=tmp_path / "other")
    new_model(family, layers=1).save_pretrained(tmp_path / "short")
    with pytest.raises(BadInput, match="has no weight"):
        patch.to_lora(tmp_path / "adapter", base=tmp_path / "short")
    assert not (tmp_path / "adapter").exists()
    shared_model.save_pretrained(tmp_path / "base")
    assert patch.to_lora(tmp_path / "adapter", base=tmp_path / "base") == 32, "a high rank is said, not refused"
    result = merged(loaded(tmp_path / "base"), tmp_path / "adapter")
    torch.testing.assert_close(logits(result), logits(edited), rtol=1e-4, atol=1e-4)


def test_factors_that_are_off_do_not_reach_the_adapter(tmp_path: Path) -> None:
    base, edited, good = wide_patch()
    (name,) = good.weights
    factors = good.changes[name].factors()
    assert factors is not None
    left, right = factors.left_dr * 2.0**factors.exponent, factors.right_rm * 1.01
    sides = [{name: side.get_parameter(name).detach()} for side in (base, edited)]
    patch = revs.Patch.between(*sides, factors={name: (left, right.double())}, method="revs", config={})
    assert patch == good
    assert patch.changes[name].rank == 2, "they still make the patch smaller"
    with pytest.raises(BadInput, match="without factors that are good enough"):
        patch.to_lora(tmp_path / "adapter")
    base.save_pretrained(tmp_path / "base")
    assert patch.to_lora(tmp_path / "adapter", base=tmp_path / "base") == 2
    result = merged(base, tmp_path / "adapter")
    torch.testing.assert_close(logits(result), logits(edited), rtol=1e-5, atol=1e-5)


def test_what_no_adapter_can_hold_is_refused(tmp_path: Path) -> None:
    vector, matrix = torch.ones(3), torch.ones(3, 3)

    def patch(name: str, weight: torch.Tensor, by: float) -> revs.Patch:
        return revs.Patch.between({name: weight}, {name: weight + by}, method="revs", config={})

    for bad in (patch("norm.weight", vector, 1), patch("mlp.table", matrix, 1)):
        with pytest.raises(BadInput, match="no place in a LoRA adapter"):
            bad.to_lora(tmp_path / "adapter")
    with pytest.raises(BadInput, match="no adapter to write"):
        patch("mlp.weight", matrix, 0).to_lora(tmp_path / "adapter")
