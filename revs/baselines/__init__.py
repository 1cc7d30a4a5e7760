"""The methods to compare REVS with, each behind the same call, `revs.erase`; one file per family of methods."""

from __future__ import annotations

from collections.abc import Callable

from revs.baselines.defences import HEAD_PROJECTION, MAX_ENTROPY
from revs.baselines.ft_l import FT_L
from revs.baselines.gradient import GRADIENT_ASCENT, GRADIENT_DIFFERENCE
from revs.baselines.in_context import IN_CONTEXT
from revs.baselines.memit import MEMIT
from revs.baselines.npo import NPO, NPO_KL
from revs.baselines.retrain import RETRAIN
from revs.baselines.rmu import RMU
from revs.patch import Patch

BASELINES: dict[str, Callable[..., Patch]] = {
    "ft-l": FT_L,
    "memit": MEMIT,
    "max-entropy": MAX_ENTROPY,
    "head-projection": HEAD_PROJECTION,
    "npo": NPO,
    "npo-kl": NPO_KL,
    "rmu": RMU,
    "gradient-ascent": GRADIENT_ASCENT,
    "gradient-difference": GRADIENT_DIFFERENCE,
    "retrain": RETRAIN,
    "in-context": IN_CONTEXT,
}
