"""Percentiles of delays by nearest rank: each is a delay that was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

SHOWN: Final[Mapping[str, float]] = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


def percentiles(values: Any, prefix: str) -> dict[str, float | None]:
    """``{prefix}_p50`` and so on, of delays in microseconds, in milliseconds; None: there are none.

    The nearest rank is the smallest value that at least that share of all values do not exceed.
    """
    ordered = np.sort(np.asarray(values))
    return {
        f"{prefix}_{name}_ms": (
            float(ordered[max(0, math.ceil(share * len(ordered)) - 1)]) / 1000
            if len(ordered)
            else None
        )
        for name, share in SHOWN.items()
    }
