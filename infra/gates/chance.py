"""How far secrets are from their decoys, beyond what chance explains.

An edited model should treat a secret as it treats decoys of it: other secrets of its form, which the model never saw.
How decoys differ from one another is what chance does. So the question has an exact answer, however few the secrets:
put one of its decoys in the place of each secret, ten thousand times, and look how far the mean of all then is from
that of the other decoys (a Monte Carlo test, `scipy.stats.monte_carlo_test`). What lies within the range of 95 of 100
of these is not distinguishable from a decoy, and counts as 0; of the rest counts what lies outside of the range.
A few secrets have a wide range, many a narrow one; bounds in the units of what was measured go on top of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

LEVEL = 0.95
_RESAMPLES = 9_999
FEWEST = 5
"""Decoys of a secret: fewer cannot tell how they differ."""


def distance(values: Sequence[float], decoys: Sequence[Sequence[float]]) -> float:
    """Mean over secrets of what each has more than its decoys have on average: above 0 memory, below it a trace."""
    import numpy as np

    return float(np.mean([own - np.mean(some) for own, some in zip(values, decoys, strict=True)]))


def beyond_chance(values: Sequence[float], decoys: Sequence[Sequence[float]], *, seed: int = 0) -> float:
    """The part of a distance that chance does not explain: 0 where the secrets pass for decoys.

    Args:
        values: of each secret (at least one), one value.
        decoys: of each secret the values of its decoys, at least `FEWEST`.
        seed: of what is drawn.
    """
    import numpy as np

    found, low, high = _by_chance(np.mean, values, decoys, seed)
    return max(found - high, 0.0) + min(found - low, 0.0)


def worst_beyond_chance(values: Sequence[float], decoys: Sequence[Sequence[float]], *, seed: int = 0) -> float:
    """The same of the secret that is farthest above its decoys: one that is left does not vanish among many.

    Never negative; arguments as of `beyond_chance`.
    """
    import numpy as np

    found, _, high = _by_chance(np.max, values, decoys, seed)
    return max(found - high, 0.0)


def _by_chance(
    summary: Callable[..., Any], values: Sequence[float], decoys: Sequence[Sequence[float]], seed: int
) -> tuple[float, float, float]:
    """A summary of what the secrets have more than their decoys, and the range in which it lies by chance."""
    import numpy as np
    from scipy import stats

    if not values or min(map(len, decoys)) < FEWEST:
        raise ValueError(f"a comparison needs a secret, and {FEWEST} decoys of each")
    own = [value - np.mean(some) for value, some in zip(values, decoys, strict=True)]
    among = [_left_out(np.asarray(some, dtype=float)) for some in decoys]
    rng = np.random.default_rng(seed)

    def one_decoy_each(size: tuple[int, int]) -> Any:
        return np.stack([rng.choice(some, size[0]) for some in among], axis=1)

    def statistic(sample: Any, axis: int = -1) -> Any:
        return summary(sample, axis=axis)

    test = stats.monte_carlo_test(own, one_decoy_each, statistic, n_resamples=_RESAMPLES)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(test.null_distribution, [tail, 1 - tail])
    return float(test.statistic), float(low), float(high)


def _left_out(decoys: Any) -> Any:
    """Each decoy's value less the mean of the others."""
    return (decoys - decoys.mean()) * len(decoys) / (len(decoys) - 1)
