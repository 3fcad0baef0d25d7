"""Volumes of the recomputation are the exactly rounded sums of sizes, whatever sizes there are."""

from __future__ import annotations

import sys

import numpy as np

from barstream.verify.folding import sums


def test_a_volume_beyond_floats_is_the_largest_as_a_worker_publishes_it() -> None:
    sizes = np.array([1e308, 1e308, 2.0, 0.1, 0.2])
    assert sums(sizes, np.array([2, 1, 2])).tolist() == [
        sys.float_info.max,
        2.0,
        0.30000000000000004,
    ]
