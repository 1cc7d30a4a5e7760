"""FT-L: constrained fine-tuning away from the secret (Zhu et al. 2020, "Modifying Memories in Transformer Models").

Zhu et al. fine-tune one layer on the wanted fact under ‖ΔW‖∞ ≤ ε, by projection after every step (their section 3).
Here nothing is wanted, so the mean of log p over the target tokens (the rarest of each secret, as in REVS) is
minimised: gradient ascent on their loss. `text` and `retain` are not used.
"""

from __future__ import annotations

from revs.config import settings
from revs.methods.baselines.frame import Baseline, Job
from revs.methods.baselines.settings import ConstrainedConfig, ff2_names
from revs.methods.baselines.tuning import chosen_only, log_p_of, logits_of, tune


@settings
class FtLConfig(ConstrainedConfig):
    """Settings of `ft-l`: see `ConstrainedConfig`."""

    method: str = "ft-l"


def _change(job: Job[FtLConfig]) -> None:
    tune(
        job,
        lambda forget, _: log_p_of(logits_of(job.model, chosen := chosen_only(forget)), chosen).mean(),
        radius=job.config.radius,
    )


FT_L = Baseline(settings=FtLConfig, names=ff2_names, change=_change)
