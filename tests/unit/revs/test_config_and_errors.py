"""Settings that make no sense are refused when they are made, and errors form one tree."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from revs.config import EraseConfig, NeuronsConfig
from revs.errors import BadInput, GateRefused, OperationFailed, RevsError

BROKEN = [
    # settings, the name and value that the message must give
    ({"tokens_per_secret": 0}, "tokens_per_secret 0"),
    ({"low_rank": 0}, "low_rank 0"),
    ({"low_rank": 50, "aim_rank": 49}, "aim_rank 49"),
    ({"output_share": -0.1}, "output_share -0.1"),
    ({"output_share": 0.6}, "output_share 0.6"),
    ({"output_share": math.nan}, "output_share nan"),
    ({"isolation": -0.1}, "isolation -0.1"),
    ({"isolation": math.inf}, "isolation inf"),
    ({"isolation": math.nan}, "isolation nan"),
    ({"epsilon": -0.1}, "epsilon -0.1"),
    ({"epsilon": math.nan}, "epsilon nan"),
    ({"epsilon": math.inf}, "epsilon inf"),
    ({"ridge": 0.0}, "ridge 0.0"),
    ({"ridge": math.nan}, "ridge nan"),
    ({"ridge": math.inf}, "ridge inf"),
    ({"retain_weight": -1.0}, "retain_weight -1.0"),
    ({"retain_weight": math.inf}, "retain_weight inf"),
    ({"sweeps": 0}, "sweeps 0"),
    ({"stand_ins": -1}, "stand_ins -1"),
    ({"protected_text": -1}, "protected_text -1"),
    ({"protected_records": -1}, "protected_records -1"),
    ({"targets_at_once": 0}, "targets_at_once 0"),
    ({"survive": ("int3",)}, "survive.0 'int3': input should be 'bfloat16', "),
    ({"variations": -1}, "variations -1"),
    ({"first_layer": -1}, "first_layer -1"),
    ({"batch_size": 0}, "batch_size 0"),
]


@pytest.mark.parametrize(("settings", "message"), BROKEN, ids=[row[1] for row in BROKEN])
def test_a_setting_out_of_range_is_refused_with_its_value(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=f"EraseConfig: {message}"):
        EraseConfig(**settings)


BROKEN_NEURONS = [
    ({"selection": "magic"}, r"selection 'magic': input should be 'rank\+activation', 'activation', 'rank', "),
    ({"act_filter": 0}, "act_filter 0"),
    ({"max_columns": 0}, "max_columns 0"),
    ({"column_rank": 0.0}, "column_rank 0.0"),
    ({"column_rank": 1.0}, "column_rank 1.0"),
    ({"column_rank": 30_000.0}, "column_rank 30000"),  # an absolute rank
    ({"column_rank": math.nan}, "column_rank nan"),
    ({"residual_rank": 0.0}, "residual_rank 0.0"),
    ({"residual_rank": 1.0}, "residual_rank 1.0"),
    ({"mlp_rank": -0.1}, "mlp_rank -0.1"),
    ({"mlp_rank": 1.0}, "mlp_rank 1.0"),
]


@pytest.mark.parametrize(("settings", "message"), BROKEN_NEURONS, ids=[row[1] for row in BROKEN_NEURONS])
def test_a_setting_of_the_papers_strategy_out_of_range_is_refused_with_its_value(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=f"NeuronsConfig: {message}"):
        NeuronsConfig(**settings)


def test_inherited_settings_are_checked_too() -> None:
    with pytest.raises(BadInput, match="tokens_per_secret 0"):
        NeuronsConfig(tokens_per_secret=0)
    assert NeuronsConfig(mlp_rank=0.0).method == "revs-neurons"


EDGES = [
    {"tokens_per_secret": 1},
    {"low_rank": 1, "aim_rank": 1},
    {"epsilon": 0.0},
    {"retain_weight": 0.0},
    {"protected_text": 0},
    {"sweeps": 1},
    {"variations": 0},
    {"first_layer": 0},
    {"batch_size": 1},
]


@pytest.mark.parametrize("settings", EDGES, ids=str)
def test_the_edge_of_a_range_is_allowed(settings: dict[str, Any]) -> None:
    made = EraseConfig(**settings)
    assert {name: getattr(made, name) for name in settings} == settings


def test_the_defaults_hold_and_are_frozen() -> None:
    config = EraseConfig()
    assert config.low_rank <= config.aim_rank
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.sweeps = 9  # the point of the test
    with pytest.raises(TypeError):
        EraseConfig("revs")  # settings are given by name


ERRORS = [(BadInput, ValueError, 2), (OperationFailed, RuntimeError, 1), (GateRefused, RevsError, 3)]


@pytest.mark.parametrize(("error", "base", "code"), ERRORS)
def test_every_error_is_a_revs_error_with_its_exit_code(
    error: type[RevsError], base: type[Exception], code: int
) -> None:
    assert issubclass(error, RevsError)
    assert issubclass(error, base)
    assert error("what was wrong").exit_code == code
    assert str(error("what was wrong")) == "what was wrong"
