"""Size and time of a patch at the shape of an 8-billion-parameter model: one weight, times its 32 layers.

    python tests/benchmarks/patch_size.py            # 4096 × 14336, bfloat16: minutes on one core
    python tests/benchmarks/patch_size.py --rows 256 --columns 512

The weights are random normal (σ = 0.02), the update is random, of relative Frobenius size 1%. "before and after" is
what keeping both tensors takes. Measured on one core of a busy machine (bfloat16, 32 layers, against 7.52 GB):

    rank 64                0.124 GB (3.9 MB a weight, half of it factors); make 17 s, apply or revert 5 s a weight
    rank 400               0.405 GB (12.7 MB, 9.7 MB of it factors); 17 s, 5 s
    rank 64 in 6 sweeps    0.592 GB (18.5 MB, 1.5 MB of it factors): the rounding of each sweep has to be kept
    without factors        1.102 GB (34.4 MB); 5 s, 2 s
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import torch

from revs.patch.encode import change_of

LAYERS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured case; sizes in bytes of one weight."""

    rank: int
    sweeps: int
    factors: bool
    bytes_both: int
    bytes_patch: int
    bytes_factors: int
    seconds_make: float
    seconds_apply: float
    seconds_revert: float


def measure(
    d: int, m: int, rank: int, *, sweeps: int = 1, factors: bool = True, relative: float = 0.01, seed: int = 0
) -> Row:
    """Make the patch of one weight and apply it in both directions, which checks it."""
    draw = torch.Generator().manual_seed(seed)
    before = (torch.randn(d, m, generator=draw) * 0.02).to(torch.bfloat16)
    left = torch.randn(d, rank, generator=draw)
    after, total = before, torch.zeros(rank, m)
    for _ in range(sweeps):
        right = torch.randn(rank, m, generator=draw)
        update = left @ right
        scale = relative / sweeps**0.5 * float(before.float().norm()) / float(update.norm())
        after, total = (after.float() + update * scale).to(torch.bfloat16), total + right * scale
    started = time.perf_counter()
    change = change_of(before, after, (left, total) if factors else None)
    made = time.perf_counter()
    assert torch.equal(change.exchange("weight", before, "apply"), after)
    applied = time.perf_counter()
    assert torch.equal(change.exchange("weight", after, "revert"), before)
    return Row(
        rank=rank,
        sweeps=sweeps,
        factors=change.rank > 0,
        bytes_both=2 * before.numel() * before.element_size(),
        bytes_patch=change.nbytes,
        bytes_factors=len(change.left) + len(change.right),
        seconds_make=made - started,
        seconds_apply=applied - made,
        seconds_revert=time.perf_counter() - applied,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--columns", type=int, default=14336)
    parser.add_argument("--ranks", type=int, nargs="+", default=[64, 400])
    parser.add_argument("--sweeps", type=int, default=1)
    parser.add_argument("--dense", action="store_true", help="without factors")
    asked = parser.parse_args()
    for rank in asked.ranks:
        row = measure(asked.rows, asked.columns, rank, sweeps=asked.sweeps, factors=not asked.dense)
        gigabytes = LAYERS / 1e9
        print(
            f"rank {row.rank}, {row.sweeps} sweep(s), {'factors' if row.factors else 'dense'}: "
            f"{row.bytes_patch / 1e6:.2f} MB a weight ({row.bytes_factors / 1e6:.2f} MB of it factors), "
            f"{LAYERS} layers {row.bytes_patch * gigabytes:.3f} GB "
            f"against {row.bytes_both * gigabytes:.2f} GB before and after; "
            f"make {row.seconds_make:.1f} s, apply {row.seconds_apply:.1f} s, revert {row.seconds_revert:.1f} s"
        )


if __name__ == "__main__":
    main()
