"""How far a partition had come: later ticks may be in no bar and in no topic yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from barstream.verify.turnover import NOWHERE

Longs = NDArray[np.int64]


@dataclass(slots=True)
class Reach:
    """How far the partition had come when it was looked at.

    Attributes:
        begin: first tick offset there is; above 0 ticks may be gone.
        position: ticks below it were applied.
        closed_until_us: by series number; every minute before it is closed.
        turnover_from: bars with no tick below it have a turnover (`barstream.verify.turnover`).
    """

    begin: int
    position: int
    closed_until_us: Longs
    turnover_from: int = NOWHERE
