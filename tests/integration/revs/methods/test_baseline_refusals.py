"""What the baselines refuse before anything is touched: settings, models and lists of targets."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from tiny_baselines import TINY, Digests

import revs
from revs.config import EraseConfig
from revs.errors import BadInput
from revs.methods.baselines.defences import HeadProjectionConfig
from revs.methods.baselines.ft_l import FtLConfig
from revs.methods.baselines.gradient import GradientDifferenceConfig
from revs.methods.baselines.in_context import InContextConfig
from revs.methods.baselines.memit import MemitConfig
from revs.methods.baselines.npo import NpoConfig, NpoKlConfig
from revs.methods.baselines.retrain import RetrainConfig
from revs.methods.baselines.rmu import RmuConfig
from revs.targets.target import Target


@pytest.mark.parametrize(
    ("make", "settings", "complaint"),
    [
        (FtLConfig, {"steps": 0}, "steps 0: input should be greater than or equal to 1"),
        (FtLConfig, {"steps": 10_001}, "steps 10001"),  # bounded
        (FtLConfig, {"learning_rate": 0.0}, "learning_rate 0.0"),
        (FtLConfig, {"learning_rate": math.nan}, "learning_rate nan"),
        (FtLConfig, {"weight_decay": -0.1}, "weight_decay -0.1"),
        (FtLConfig, {"radius": 0.0}, "radius 0.0"),
        (FtLConfig, {"layers": (1, 1)}, "layers (1, 1): should be ascending numbers from 0"),
        (FtLConfig, {"layers": (-1,)}, "layers (-1,)"),
        (FtLConfig, {"batch_size": 0}, "batch_size 0"),  # inherited checks still run
        (HeadProjectionConfig, {"candidates": 0}, "candidates 0"),
        (HeadProjectionConfig, {"margin": -1.0}, "margin -1.0"),
        (NpoConfig, {"beta": 0.0}, "beta 0.0"),
        (NpoKlConfig, {"beta": math.inf}, "beta inf"),
        (NpoKlConfig, {"keep_weight": -1.0}, "keep_weight -1.0"),
        (GradientDifferenceConfig, {"keep_weight": math.nan}, "keep_weight nan"),
        (RmuConfig, {"layer": -2}, "layer -2"),
        (RmuConfig, {"steering": 0.0}, "steering 0.0"),
        (RmuConfig, {"alpha": -1.0}, "alpha -1.0"),
        (MemitConfig, {"steps": 0}, "steps 0"),
        (MemitConfig, {"layers": (2, 1)}, "layers (2, 1)"),
        (MemitConfig, {"clamp": 0.0}, "clamp 0.0"),
        (MemitConfig, {"moment_weight": 0.0}, "moment_weight 0.0"),
        (MemitConfig, {"kl_weight": -1.0}, "kl_weight -1.0"),
        (MemitConfig, {"neutral": " "}, "neutral ' ': is blank"),
        (InContextConfig, {"instruction": ""}, "instruction '': is blank"),
        (RetrainConfig, {}, "retrained is empty"),
    ],
)
def test_settings_outside_their_ranges_are_refused_in_one_line(
    make: Callable[..., EraseConfig], settings: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(BadInput) as refused:
        make(**settings)
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        (FtLConfig(layers=(0, 3)), "layer 3 is not there: the model has 3 layers"),
        (MemitConfig(layers=(7,)), "layer 7 is not there"),
        (RmuConfig(layer=3), "layer 3 is not there"),
        (HeadProjectionConfig(candidates=201), "more than half of this vocabulary of 400"),
        (NpoConfig(first_layer=3), "first_layer 3 leaves nothing to edit"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused_before_anything_is_touched(
    config: EraseConfig, complaint: str, model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    before = digests(model)
    with pytest.raises(BadInput, match=complaint):
        revs.erase(model, tokenizer, people[:1], config=config)
    assert digests(model) == before


def test_memit_refuses_a_norm_behind_the_mlp_and_fine_tuning_does_not(
    new_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    model = new_model("gemma2")
    with pytest.raises(BadInput, match="use method 'revs'"):
        revs.erase(model, tokenizer, people[:1], config=MemitConfig())
    assert revs.erase(model, tokenizer, people[:1], config=TINY["ft-l"]).weights


def test_a_target_on_both_lists_is_refused_by_every_method(
    trained_models: dict[str, Any], tokenizer: Any, people: list[Target]
) -> None:
    for config in TINY.values():
        with pytest.raises(BadInput, match="erased and retained at once"):
            revs.erase(trained_models["llama"], tokenizer, people[:2], config=config, retain=people[1:])


def test_no_methods_default_stands_under_a_name_that_a_plain_configuration_would_override() -> None:
    plain = {name: value for name, value in asdict(EraseConfig()).items() if name != "method"}
    for config in TINY.values():
        assert {name: getattr(type(config)(), name) for name in plain} == plain
