"""The settings tried of every rival method: the same budget for each, four settings of one or two parameters.

Searched are what the papers search, the learning rate or the strength; steps are chosen so that an edit of 20 targets
takes no more than about 20 seconds on one core. `retrain` and `in-context` have nothing to search.

Best unlearning score on the small Llama model of seed 1 (`search.py`): ft-l 52.9, memit 44.6, max-entropy 60.1,
head-projection 56.7, npo 35.5, npo-kl 83.2, rmu 70.2, gradient-ascent 38.3, gradient-difference 64.8. Two points of the
grids of ft-l and rmu, and one of npo, replaced points that had no effect or destroyed specificity.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

from revs.baselines.defences import HeadProjectionConfig, MaxEntropyConfig
from revs.baselines.ft_l import FtLConfig
from revs.baselines.gradient import GradientAscentConfig, GradientDifferenceConfig
from revs.baselines.memit import MemitConfig
from revs.baselines.npo import NpoConfig, NpoKlConfig
from revs.baselines.rmu import RmuConfig
from revs.config import EraseConfig


def _grid(make: Callable[..., EraseConfig], fixed: dict[str, float], **axes: tuple[float, ...]) -> list[EraseConfig]:
    return [make(**fixed, **dict(zip(axes, point, strict=True))) for point in product(*axes.values())]


SEARCH: dict[str, list[EraseConfig]] = {
    "ft-l": _grid(FtLConfig, {"steps": 25}, radius=(5e-3, 1e-2), learning_rate=(3e-4, 5e-4)),
    "memit": _grid(MemitConfig, {"steps": 25}, moment_weight=(1.0, 100.0), clamp=(0.75, 3.0)),
    "max-entropy": _grid(MaxEntropyConfig, {"steps": 25}, radius=(5e-3, 1e-2), learning_rate=(5e-4, 1e-3)),
    "head-projection": _grid(HeadProjectionConfig, {"steps": 25}, radius=(5e-3, 1e-2), learning_rate=(5e-4, 1e-3)),
    "npo": _grid(NpoConfig, {"steps": 25}, learning_rate=(5e-5, 7e-5, 1e-4, 2e-4)),
    "npo-kl": _grid(NpoKlConfig, {"steps": 20}, learning_rate=(1e-4, 2e-4, 4e-4, 8e-4)),
    "rmu": _grid(RmuConfig, {"steps": 40, "learning_rate": 2e-3}, steering=(6.5, 26.0), alpha=(1.0, 10.0)),
    "gradient-ascent": _grid(GradientAscentConfig, {"steps": 25}, learning_rate=(3e-5, 5e-5, 7e-5, 1e-4)),
    "gradient-difference": _grid(
        GradientDifferenceConfig, {"steps": 20}, learning_rate=(5e-5, 1e-4, 2e-4, 4e-4)
    ),
}  # fmt: skip
