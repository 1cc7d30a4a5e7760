"""Attacks that read ranks: logit lens, delta, and the logit lens on perturbed prompts (Ashuach et al. 2025, 4.3).

An adversary who looks at the k first and the k last tokens of every layer has a candidate set of 2·k·L tokens for each
position of the secret (Patil et al. 2024, section 3). A secret falls when each of its target tokens stands in that set.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from revs.errors import Gap
from revs.evaluation.attacks.base import Attack, Outcome
from revs.evaluation.context import Examination
from revs.evaluation.ranks import Readings


def candidates(rank_LN: Tensor, readings: Readings, k: int) -> Outcome:
    """Both ends of every row of ranks: the size of the set that holds every target token of a secret."""
    ends_LN = torch.minimum(rank_LN, readings.vocabulary - 1 - rank_LN) + 1
    nearest_N = ends_LN.min(0).values[readings.chosen_N]
    owner_N = readings.target_N[readings.chosen_N]
    needed = torch.zeros(readings.targets, dtype=torch.int64).scatter_reduce(0, owner_N, nearest_N, "amax")
    sets = 2 * len(rank_LN)
    return Outcome(candidates=tuple(sets * int(size) for size in needed), budget=sets * k)


def _residual(examination: Examination, *, of: str) -> Outcome:
    readings = examination.readings(of)
    return candidates(readings.rank_LN, readings, examination.k)


def _delta(examination: Examination) -> Outcome:
    readings = examination.readings("targets")
    if len(readings.delta_rank_LN) == 0:
        raise Gap("the model has one layer, so no two consecutive ones")
    return candidates(readings.delta_rank_LN, readings, examination.k)


ATTACKS = (
    Attack(name="logit_lens", counts="tokens of all layers", run=partial(_residual, of="targets")),
    Attack(name="delta", counts="tokens of all pairs of layers", run=_delta),
    Attack(name="perturbation", counts="tokens of all layers", run=partial(_residual, of="perturbed")),
)
