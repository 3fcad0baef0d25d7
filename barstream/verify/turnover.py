"""Bars that are without turnover, because a version made them that did not add it up.

::

    ticks       0 ............... 412 ................. end
    rules       | rows of before   | the first row of a version with turnover
    bars          may be without     of ticks from here on alone: must have one

A worker of a version writes such a row with its first flush, and older ones cannot go on after it.
Where there is no row, it cannot be told who made a bar: any may be without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from barstream.codecs.topics.row_version import WITH_TURNOVER
from barstream.codecs.topics.rules import RulesRow

#: The log does not say.
NOWHERE: Final = 1 << 62


def turnover_from(rows: Sequence[RulesRow]) -> int:
    """Bars whose ticks all stand at this offset or after it have a turnover."""
    return min((row.from_offset for row in rows if row.version >= WITH_TURNOVER), default=NOWHERE)


def may_lack(since: int) -> pl.Expr:
    """Which bars of minutes are without one and may be.

    A late tick takes its bar's offset down, or makes it anew with a turnover; one without a tick
    was written where it was closed, or revised, and that is after its close offset at most.

    Args:
        since: see `turnover_from`.
    """
    is_own = (pl.col("first_offset") >= since) | (
        pl.col("synthetic") & (pl.col("close_offset") > since)
    )
    return pl.col("turnover").is_null() & ~is_own.fill_null(value=False)
