"""The methods to compare REVS with, each behind the same call, `revs.erase`; one file per family of methods."""

from __future__ import annotations

from typing import Any

from revs.methods.baselines.defences import HEAD_PROJECTION, MAX_ENTROPY
from revs.methods.baselines.frame import Baseline
from revs.methods.baselines.ft_l import FT_L
from revs.methods.baselines.gradient import GRADIENT_ASCENT, GRADIENT_DIFFERENCE
from revs.methods.baselines.in_context import IN_CONTEXT
from revs.methods.baselines.memit import MEMIT
from revs.methods.baselines.npo import NPO, NPO_KL
from revs.methods.baselines.retrain import RETRAIN
from revs.methods.baselines.rmu import RMU

BASELINES: dict[str, Baseline[Any]] = {
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
