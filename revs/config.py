"""How to erase: one frozen dataclass, checked when it is made."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from revs.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class EraseConfig:
    """Settings of one edit; the defaults are the ones measured on the development models.

    Attributes:
        method: key of `revs.METHODS`.
        tokens_per_secret: t, the number of rarest tokens of each secret that are demoted (paper: 2).
        low_rank: a token whose rank is at least this is left alone; below it, it is demoted.
        aim_rank: the rank a demoted token is moved to, ≥ low_rank. No token is brought nearer to the end of the
            vocabulary than this either: the very last ranks give it away like the first.
        epsilon: how far similar keys share their movement (0: every token exactly where it is wanted).
        ridge: added to the diagonal of the key moments, relative to its mean.
        retain_weight: weight of the retained records in the key moments, against 1 for ordinary text.
        sweeps: passes at most; a pass that moves nothing ends the edit.
        variations: copies of each prompt with random characters inserted that enter the same solve, so that the edit
            also holds where a prompt is not met to the letter.
        first_layer: layers before this one are left alone.
        batch_size: sequences in one forward pass while moments are gathered and ranks read.
        seed: of the characters inserted by the variations.
    """

    method: str = "revs"
    tokens_per_secret: int = 2
    low_rank: int = 110
    aim_rank: int = 200
    epsilon: float = 0.1
    ridge: float = 0.01
    retain_weight: float = 0.5
    sweeps: int = 6
    variations: int = 6
    first_layer: int = 0
    batch_size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            f"tokens_per_secret {self.tokens_per_secret} is below 1": self.tokens_per_secret < 1,
            f"low_rank {self.low_rank} is below 1": self.low_rank < 1,
            f"aim_rank {self.aim_rank} is below low_rank {self.low_rank}": self.aim_rank < self.low_rank,
            f"epsilon {self.epsilon} is not a number ≥ 0": not 0 <= self.epsilon < inf,
            f"ridge {self.ridge} is not a number > 0": not 0 < self.ridge < inf,
            f"retain_weight {self.retain_weight} is not a number ≥ 0": not 0 <= self.retain_weight < inf,
            f"sweeps {self.sweeps} is below 1": self.sweeps < 1,
            f"variations {self.variations} is below 0": self.variations < 0,
            f"first_layer {self.first_layer} is below 0": self.first_layer < 0,
            f"batch_size {self.batch_size} is below 1": self.batch_size < 1,
        }
        for problem, broken in checks.items():
            if broken:
                raise BadInput(f"EraseConfig: {problem}; see its docstring for the ranges")
