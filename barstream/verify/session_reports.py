"""What became of the minutes of each session, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.model.time import iso_date_from_days
from barstream.verify.hours import Minutes
from barstream.verify.published_bars import longs

Longs = NDArray[np.int64]


@dataclass(slots=True)
class SessionReport:
    """One session of one series: how many minutes it has, and what became of them."""

    broker: str
    symbol: str
    trading_date: int
    session: int
    expected: int
    real: int
    synthetic: int
    revised: int
    missing: int
    asleep: int
    first_offset: int | None
    last_offset: int | None
    checksum: str

    def to_json(self) -> dict[str, Any]:
        """One line of ``--json``."""
        return {
            "type": "session",
            "broker": self.broker,
            "symbol": self.symbol,
            "trading_date": iso_date_from_days(self.trading_date),
            "session": self.session,
            "expected": self.expected,
            "real": self.real,
            "synthetic": self.synthetic,
            "revised": self.revised,
            "missing": self.missing,
            "asleep": self.asleep,
            "first_offset": self.first_offset,
            "last_offset": self.last_offset,
            "checksum": self.checksum,
        }


def session_reports(
    name: tuple[str, str],
    published: pl.DataFrame,
    minutes: Minutes,
    due: NDArray[np.bool_],
    present: Longs,
    asleep: NDArray[np.bool_],
    missing: NDArray[np.bool_],
) -> list[SessionReport]:
    """The reports of one series, ascending.

    Args:
        name: the series.
        published: its finals, ascending.
        minutes: its in-session minutes; the arrays below are of the same shape (n,).
        due: whether each is closed.
        present: its row in ``published``, -1 where there is none.
        asleep: whether the series slept.
        missing: whether a final is missing.
    """
    found: list[SessionReport] = []
    there = present >= 0
    bar = np.maximum(present, 0)
    count = len(published)
    synthetic = published["synthetic"].to_numpy() if count else np.zeros(1, np.bool_)
    revision = longs(published, "revision") if count else np.zeros(1, np.int64)
    frame = pl.DataFrame(
        {
            "trading_date": minutes.trading_date, "session": minutes.session,
            "expected": (due | there) & ~asleep, "real": there & ~synthetic[bar],
            "synthetic": there & synthetic[bar], "revised": there & (revision[bar] > 0),
            "missing": missing, "asleep": asleep & due & ~there,
            "bar": np.where(there, present, -1),
        }
    )  # fmt: skip
    counted = ("expected", "real", "synthetic", "revised", "missing", "asleep")
    reports = frame.group_by("trading_date", "session", maintain_order=True).agg(
        *(pl.col(name).sum() for name in counted), pl.col("bar")
    )
    values = published["value"].to_list()
    first, last = longs(published, "first_offset"), longs(published, "last_offset")
    for row in reports.iter_rows(named=True):
        bars = [at for at in row["bar"] if at >= 0]
        digest = blake2b(digest_size=16)
        for at in bars:
            digest.update(values[at])
        firsts = [int(first[at]) for at in bars if first[at] >= 0]
        lasts = [int(last[at]) for at in bars if last[at] >= 0]
        found.append(
            SessionReport(
                *name,
                **{name: row[name] for name in ("trading_date", "session", *counted)},
                first_offset=min(firsts, default=None),
                last_offset=max(lasts, default=None),
                checksum=digest.hexdigest(),
            )
        )
    return found
