"""Which settings of each method the search may try: the same number for every method that has something to choose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from revs.config import EraseConfig, NeuronsConfig
from revs.errors import BadInput
from revs.targets import Target

BUDGET = 4  # settings of one method at most

# The first setting is the one of --quick. Methods that are not here are measured with their defaults.
SETTINGS: dict[str, list[EraseConfig]] = {
    "revs": [EraseConfig(epsilon=epsilon) for epsilon in (0.03, 0.003, 0.3, 1.0)],
    "revs-neurons": [NeuronsConfig(max_columns=columns, act_filter=400) for columns in (90, 10, 30, 270)],
}


def settings_of(method: str) -> list[EraseConfig]:
    """What the search tries for `method`: 1 to `BUDGET` settings."""
    return SETTINGS.get(method, [EraseConfig(method=method)])[:BUDGET]


def bound(setting: EraseConfig, *, retrained: Path | None) -> EraseConfig:
    """The setting as the edit takes it: `retrain` needs the folder of the model that never saw the secrets.

    The folder is no part of the setting that stands in the results: where a cache lies decides no figure.

    Raises:
        BadInput: there is no such model.
    """
    if setting.method != "retrain":
        return setting
    if retrained is None:
        raise BadInput("retrain has no never-trained control here; there is nothing to search among its settings")
    home: Any = import_module("revs.baselines.retrain")
    config: EraseConfig = home.RetrainConfig(retrained=str(retrained))
    return config


Asking = Callable[[Sequence[Target]], list[Target]]


def asking(setting: EraseConfig) -> Asking:
    """How targets are put to the edited model: for `in-context` the instruction stands in front of every prompt."""
    if setting.method != "in-context":
        return list
    home: Any = import_module("revs.baselines.in_context")
    instruction = getattr(setting, "instruction", None) or home.InContextConfig().instruction
    return lambda targets: list(home.instructed(targets, instruction))
