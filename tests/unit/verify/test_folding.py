"""Volumes of the recomputation are the exactly rounded sums of sizes, whatever sizes there are."""

from __future__ import annotations

import sys

import numpy as np

from barstream.core.exact import to_decimal, units_of
from barstream.verify.folding import is_exact_sum, sums


def test_a_volume_beyond_floats_is_the_largest_as_a_worker_publishes_it() -> None:
    sizes = np.array([1e308, 1e308, 2.0, 0.1, 0.2])
    assert sums(sizes, np.array([2, 1, 2])).tolist() == [
        sys.float_info.max,
        2.0,
        0.30000000000000004,
    ]


def test_an_exact_volume_is_the_sum_to_the_last_digit() -> None:
    smallest, largest = 5e-324, sys.float_info.max
    for sizes in ([], [0.1, 0.2], [1e17, 3e-9, 0.3], [smallest, 1.0], [largest, largest, smallest]):
        text = to_decimal(sum(map(units_of, sizes)))
        assert is_exact_sum(text, sizes)
        assert not is_exact_sum(text, [*sizes, smallest])
    assert not is_exact_sum("0.3", [0.1, 0.2])
    assert not is_exact_sum("1e1", [10.0])
    assert not is_exact_sum("", [])
