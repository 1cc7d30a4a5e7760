"""The measurement of patch sizes, on a small shape: that it runs, and that the order of the forms is what it says."""

from __future__ import annotations

import runpy
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "patch_size.py"


def test_factors_make_a_patch_many_times_smaller_than_both_sides() -> None:
    measure = runpy.run_path(str(SCRIPT))["measure"]
    few, many, dense = measure(512, 1024, 8), measure(512, 1024, 50), measure(512, 1024, 8, factors=False)
    assert (few.factors, many.factors) == (True, True)
    assert few.bytes_patch < many.bytes_patch < dense.bytes_patch * 1.5
    assert few.bytes_patch * 20 < few.bytes_both
    assert dense.bytes_patch * 2 < dense.bytes_both
