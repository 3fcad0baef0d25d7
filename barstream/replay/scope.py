"""What a replay covers, written beside its bars: only that can be compared, or switched to.

Rows of the shadow of topic ``{app_id}-series``, as JSON: one for each series, and last of all one
for the partition, without which the replay is not complete.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal, Self

import orjson

from barstream.market.schedule import Series
from barstream.model.key import series_key, split_series_key
from barstream.model.period import MINUTE, Period
from barstream.rules.series import FOREVER_US, NEVER_US

#: Sorts before every series: a broker is never empty.
DONE_KEY: Final = b"\0replay"
SCOPE_KEY: Final = b"\0scope\0"

Place = Literal["inside", "outside", "open"]
"""Of a bucket: compared; before or after what was asked for; not over yet when the replay ended."""


@dataclass(frozen=True, slots=True)
class SeriesScope:
    """One series.  Times are bucket starts in microseconds.

    Attributes:
        start_us: the first minute that was derived; `NEVER_US`: the first there is.
        closed_us: minutes before it are closed.
        uppers: by period as text: first bucket of the replay, and the end (exclusive) of those
            that are final; a first bucket that begins before ``start_us`` is partly replayed.
        last_close: close of the last final that was derived, or of the published one before it.
    """

    start_us: int
    closed_us: int
    uppers: dict[str, tuple[int, int]] = field(default_factory=dict)
    last_close: float | None = None

    def place(self, period: Period, bucket_us: int, to_us: int) -> Place:
        """Where a bucket lies."""
        first_us, end_us = self.start_us, self.closed_us
        if period != MINUTE:
            first_us, end_us = self.uppers.get(str(period), (FOREVER_US, FOREVER_US))
        if bucket_us < first_us or bucket_us >= to_us:
            return "outside"
        return "inside" if bucket_us < end_us else "open"


@dataclass(frozen=True, slots=True)
class Derived:
    """What a partition came to; everything but the counts decides what is compared.

    Attributes:
        begin: first tick offset that was read.
        end: the offset (exclusive) at which it ended.
        later: series that start later than was asked for, because records are missing.
        unreliable: recorded closes that stood out of order and were not used.
        early: heartbeats that close nothing, because they were appended before they were due.
    """

    partition: int
    begin: int
    end: int
    from_us: int
    to_us: int
    broker: str | None
    symbol: str | None
    recorded: bool
    grace_us: int
    late_policy: str
    ticks: int = 0
    finals: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    later: int = 0
    unreliable: int = 0
    early: int = 0
    unpriced: int = 0


@dataclass(slots=True)
class Scope:
    """A partition's part of a replay."""

    derived: Derived
    series: dict[Series, SeriesScope] = field(default_factory=dict)

    def place(self, period: Period, series: Series, bucket_us: int) -> Place:
        """Where a bucket lies; of a series the replay knows nothing of, all asked for is inside."""
        derived = self.derived
        if derived.broker not in (None, series[0]) or derived.symbol not in (None, series[1]):
            return "outside"
        known = self.series.get(series)
        if known is None:
            known = SeriesScope(
                derived.from_us, FOREVER_US, {str(period): (derived.from_us, FOREVER_US)}
            )
        return known.place(period, bucket_us, derived.to_us)

    def is_partly(self, period: Period, series: Series, bucket_us: int) -> bool:
        """Whether an upper bar begins before the replay: it is made of published finals as well."""
        known = self.series.get(series)
        return period != MINUTE and known is not None and bucket_us < known.start_us

    def rows(self) -> list[tuple[bytes, bytes]]:
        """Key and value of each row, the partition's last."""
        rows = [
            (SCOPE_KEY + series_key(*name), _json(self.series[name]))
            for name in sorted(self.series)
        ]
        return [*rows, (DONE_KEY, _json(self.derived))]

    @classmethod
    def of(cls, rows: dict[bytes, bytes]) -> Self | None:
        """The scope in the newest rows by key; None: the replay is not complete."""
        done = rows.get(DONE_KEY)
        if done is None:
            return None
        known = {each.name for each in fields(Derived)}
        found: dict[str, Any] = orjson.loads(done)
        scope = cls(Derived(**{name: value for name, value in found.items() if name in known}))
        for key, value in rows.items():
            if key.startswith(SCOPE_KEY):
                row = orjson.loads(value)
                row["uppers"] = {period: tuple(span) for period, span in row["uppers"].items()}
                scope.series[split_series_key(key[len(SCOPE_KEY) :])] = SeriesScope(**row)
        return scope


def _json(row: SeriesScope | Derived) -> bytes:
    return orjson.dumps(asdict(row), option=orjson.OPT_SORT_KEYS)


__all__ = [
    "DONE_KEY", "FOREVER_US", "NEVER_US", "SCOPE_KEY", "Derived", "Place", "Scope", "SeriesScope",
]  # fmt: skip
