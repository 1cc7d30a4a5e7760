"""Membership inference by Min-K%++ (Zhang et al. 2025, arXiv 2404.02936): which of several secrets was trained on?

Every token gets (log p − μ)/σ, mean and deviation of log p under the model's own distribution at that place; a secret
gets the mean of its lowest 20%. Each target is put beside 10 decoys of its form under the same prompt; the adversary
takes the highest first: a candidate is one of the eleven.
"""

from __future__ import annotations

import math
import random

import torch
from jaxtyping import Float
from torch import Tensor

from revs.evaluation.attacks.base import Attack, Outcome
from revs.evaluation.context import Examination
from revs.evaluation.ranks import Readings
from revs.targets.decoys import decoys

DECOYS = 10
SHARE = 0.2


def min_k_plus_plus(readings: Readings) -> Float[Tensor, " targets"]:
    """Score of every secret; the higher, the more like a member. At least one token is counted."""
    return _lowest(readings.standardised_N, readings, SHARE)


def min_k(readings: Readings) -> Float[Tensor, " targets"]:
    """The same of log p itself, not standardised: Min-K% (Shi et al. 2024, arXiv 2310.16789)."""
    return _lowest(readings.logprob_N, readings, SHARE)


def loss(readings: Readings) -> Float[Tensor, " targets"]:
    """Mean log p of the tokens of every secret: membership by loss (Yeom et al. 2018, arXiv 1709.01604)."""
    return _lowest(readings.logprob_N, readings, 1.0)


def _lowest(value_N: Float[Tensor, " N"], readings: Readings, share: float) -> Float[Tensor, " targets"]:
    """Mean of the lowest share of the values of every secret."""
    found = []
    for target in range(readings.targets):
        tokens_N = value_N[readings.target_N == target].sort().values
        found.append(tokens_N[: math.ceil(share * len(tokens_N))].mean())
    return torch.stack(found)


def scores_of(examination: Examination) -> tuple[Tensor, Tensor]:
    """Scores of the secrets (targets,) and of their decoys (decoys, targets)."""
    targets = examination.targets
    others = [decoys(targets, seed=examination.seed + number) for number in range(1, DECOYS + 1)]
    return (
        min_k_plus_plus(examination.readings("targets")),
        torch.stack([min_k_plus_plus(examination.read(some, output_only=True)) for some in others]),
    )


def area_under_curve(examination: Examination) -> float:
    """Area under the ROC curve of secrets against decoys, percent."""
    return auc(*scores_of(examination))


def auc(secrets: Tensor, others: Tensor) -> float:
    """Area under the ROC curve of the scores of secrets against those of others, percent."""
    state = random.getstate()
    from sklearn.metrics import roc_auc_score

    random.setstate(state)  # from which something draws where it is first imported
    labels = [1] * len(secrets) + [0] * others.numel()
    return 100 * float(roc_auc_score(labels, torch.cat([secrets, others.flatten()]).tolist()))


def _run(examination: Examination) -> Outcome:
    secrets, others = scores_of(examination)
    places = 1 + (others >= secrets).sum(0)
    return Outcome(candidates=tuple(places.tolist()), budget=1)


ATTACKS = (Attack(name="membership", counts="secrets", run=_run),)
