"""Which settings of each method the search may try: the same number for every method that has something to choose.

Searched are what the papers search, the learning rate or the strength; steps are chosen so that an edit of 20 targets
takes about 20 seconds at most on one core. `retrain` and `in-context` have nothing to search. The grids were placed on
the small Llama model of seed 1: a first choice of two points each of ft-l and rmu, and of one of npo, had no effect or
destroyed specificity, and was replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

from revs.config import EraseConfig, NeuronsConfig
from revs.errors import BadInput
from revs.methods.baselines.defences import HeadProjectionConfig, MaxEntropyConfig
from revs.methods.baselines.ft_l import FtLConfig
from revs.methods.baselines.gradient import GradientAscentConfig, GradientDifferenceConfig
from revs.methods.baselines.in_context import InContextConfig, instructed
from revs.methods.baselines.memit import MemitConfig
from revs.methods.baselines.npo import NpoConfig, NpoKlConfig
from revs.methods.baselines.retrain import RetrainConfig
from revs.methods.baselines.rmu import RmuConfig
from revs.targets.target import Target

BUDGET = 4  # settings of one method at most


def _grid(make: Callable[..., EraseConfig], fixed: dict[str, float], **axes: tuple[float, ...]) -> list[EraseConfig]:
    """Every combination of the values of the axes."""
    return [make(**fixed, **dict(zip(axes, point, strict=True))) for point in product(*axes.values())]


# The first setting is the one of --quick. Methods that are not here are measured with their defaults.
SETTINGS: dict[str, list[EraseConfig]] = {
    "revs": [EraseConfig(epsilon=epsilon) for epsilon in (0.03, 0.003, 0.3, 1.0)],
    "revs-neurons": [NeuronsConfig(max_columns=columns, act_filter=400) for columns in (90, 10, 30, 270)],
    "ft-l": _grid(FtLConfig, {"steps": 25}, radius=(1e-2, 5e-3), learning_rate=(5e-4, 3e-4)),
    "memit": _grid(MemitConfig, {"steps": 25}, moment_weight=(1.0, 100.0), clamp=(3.0, 0.75)),
    "max-entropy": _grid(MaxEntropyConfig, {"steps": 25}, radius=(1e-2, 5e-3), learning_rate=(5e-4, 1e-3)),
    "head-projection": _grid(HeadProjectionConfig, {"steps": 25}, radius=(1e-2, 5e-3), learning_rate=(5e-4, 1e-3)),
    "npo": _grid(NpoConfig, {"steps": 25}, learning_rate=(7e-5, 5e-5, 1e-4, 2e-4)),
    "npo-kl": _grid(NpoKlConfig, {"steps": 20}, learning_rate=(4e-4, 1e-4, 2e-4, 8e-4)),
    "rmu": _grid(RmuConfig, {"steps": 40, "learning_rate": 2e-3}, steering=(6.5, 26.0), alpha=(1.0, 10.0)),
    "gradient-ascent": _grid(GradientAscentConfig, {"steps": 25}, learning_rate=(7e-5, 3e-5, 5e-5, 1e-4)),
    "gradient-difference": _grid(
        GradientDifferenceConfig, {"steps": 20}, learning_rate=(2e-4, 5e-5, 1e-4, 4e-4)
    ),
}  # fmt: skip


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
    return RetrainConfig(retrained=str(retrained))


Asking = Callable[[Sequence[Target]], list[Target]]


def asking(setting: EraseConfig) -> Asking:
    """How targets are put to the edited model: for `in-context` the instruction stands in front of every prompt."""
    if setting.method != "in-context":
        return list
    instruction = setting.instruction if isinstance(setting, InContextConfig) else InContextConfig().instruction
    return lambda targets: instructed(targets, instruction)
