"""The query: a declaration of what bars are made of what, and nothing that runs.

It is a value: every method gives a new one, so one query can be the beginning of several.  What
it says can be overridden by the settings; what it cannot mean is refused where it is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, Self

from barstream.errors import ConfigError
from barstream.model.period import Period
from barstream.pipeline.model import Kind, MarketSchedule, Model, Rate, Tick

_LONGEST_GRACE_S: Final = 3_600


class QueryError(ConfigError):
    """A pipeline declares what cannot be meant, so nothing was started.

    Correct the declaration where the message says; ``barstream plan`` shows what it makes.
    """


@dataclass(frozen=True, slots=True)
class ScheduleJoin:
    """Which sessions a tick is judged by: those with ``opens <= time < closes`` of its series.

    Attributes:
        model: the rows, one a session.
        columns: join columns, of both sides.
        opens: column of the open, inclusive.
        closes: column of the close, exclusive.
        day: column of the trading date that bars of a session count for.
    """

    model: Model
    columns: tuple[str, ...]
    opens: str
    closes: str
    day: str


@dataclass(frozen=True, slots=True)
class Query:
    """A pipeline from ticks to bars.

    ::

        Query(source=Tick, time="time")
        .based_on(MarketSchedule, join=("broker", "symbol"), opens="open", closes="close",
                  day="trading_date")
        .tumbling(Period.minutes(1), Period.minutes(5), Period.days(1), grace_s=5)
        .into(Rate)

    Without `based_on` every series trades 24x7 on the UTC calendar.

    Attributes:
        source: what is read.
        time: its column of event time.
        schedule: set by `based_on`.
        periods: set by `tumbling`, in the order given.
        grace_s: set by `tumbling`; None: as the settings say.
        target: set by `into`, `Rate` otherwise.
        base: set by `into`; None: as the settings say.

    Raises:
        QueryError: what the source lacks, and what it has.
    """

    source: Model = Tick
    time: str = "time"
    schedule: ScheduleJoin | None = None
    periods: tuple[Period, ...] = ()
    grace_s: float | None = None
    target: Model = Rate
    base: str | None = None

    def __post_init__(self) -> None:
        _require_model("source", self.source)
        _require_column(self.source, "time", self.time, "time")

    def based_on(
        self, model: Model, *, join: Iterable[str], opens: str, closes: str, day: str
    ) -> Self:
        """Ticks count only in the sessions of their series: ``opens <= time < closes``.

        Args:
            model: the sessions.
            join: columns that both models have; together they are the series.
            opens: column of the open, inclusive.
            closes: column of the close, exclusive.
            day: column of the trading date.

        Raises:
            QueryError: a column is not there or not of its kind, or there is a schedule already.
        """
        if self.schedule is not None:
            raise QueryError(
                f"a pipeline has one schedule, found {self.schedule.model.name} and then another: "
                "take one based_on out"
            )
        _require_model("based_on", model)
        # a text is a collection of letters to Python
        columns = (join,) if isinstance(join, str) else tuple(join)
        for column in columns:
            for side in (self.source, model):
                _require_column(side, "join", column, "text")
        if set(columns) != set(self.source.key):
            raise QueryError(
                f"a session is of one series, so join must be the key of {self.source.name} "
                f"{self.source.key}, found {columns}"
            )
        _require_column(model, "opens", opens, "time")
        _require_column(model, "closes", closes, "time")
        _require_column(model, "day", day, "date")
        if opens == closes:
            raise QueryError(
                f"opens and closes must be two columns, found {opens!r} for both: no session "
                "would hold a tick"
            )
        return replace(self, schedule=ScheduleJoin(model, columns, opens, closes, day))

    def tumbling(self, *periods: Period, grace_s: float | timedelta | None = None) -> Self:
        """Bars of these periods as well; asked again, it adds to them.

        Minutes are what all others are made of, and weeks and months are made of days: these
        are there although they are not named.

        Args:
            periods: each in force once by its name: ``1h`` and ``1h@session`` are one name.
            grace_s: how long after its end a minute waits for ticks, 0 to 3,600 seconds; one for
                the whole pipeline.

        Raises:
            QueryError: no period, two of one name, or no grace.
        """
        if not periods:
            raise QueryError("tumbling needs at least one period, such as Period.minutes(5)")
        for period in periods:
            if not isinstance(period, Period):
                raise QueryError(
                    f"a period must be a Period, such as Period.parse('5m'), found {period!r}"
                )
        named: dict[str, Period] = {}
        for period in (*self.periods, *periods):
            other = named.setdefault(period.timeframe, period)
            if other is not period:
                raise QueryError(
                    f"each timeframe can be there once, found {other} and {period}: both would be "
                    f"written to the topic of {period.timeframe}"
                )
        grace = self.grace_s if grace_s is None else _grace(grace_s)
        if self.grace_s is not None and grace != self.grace_s:
            raise QueryError(
                f"a pipeline has one grace, because all bars rest on the same minutes; found "
                f"{self.grace_s:g} s and {grace:g} s"
            )
        return replace(self, periods=(*self.periods, *periods), grace_s=grace)

    def into(self, model: Model, *, base: str | None = None) -> Self:
        """What a bucket becomes, and the first part of the names of its topics.

        Raises:
            QueryError: the key of the model is not the series and the start of the bucket.
        """
        _require_model("into", model)
        series, rest = model.key[: len(self.source.key)], model.key[len(self.source.key) :]
        if series != self.source.key or [model.kind(name) for name in rest] != ["time"]:
            raise QueryError(
                f"the key of {model.name} must be that of {self.source.name} {self.source.key} and "
                f"then the start of the bucket, a time; found {model.key}"
            )
        return replace(self, target=model, base=base)


def _require_model(use: str, model: Any) -> None:
    if not isinstance(model, Model):
        raise QueryError(f"{use} must be a Model, such as Tick, found {model!r}")


def _require_column(model: Model, use: str, column: str, kind: Kind) -> None:
    found = model.kind(column)
    if found == kind:
        return
    those = ", ".join(known.name for known in model.columns if known.kind == kind)
    what = f"no column {column!r}" if found is None else f"{column!r}, a {found}"
    raise QueryError(
        f"{use} must be a column of {model.name} that is a {kind} ({those or 'it has none'}), "
        f"found {what}"
    )


def _grace(given: float | timedelta) -> float:
    seconds: Any = given.total_seconds() if isinstance(given, timedelta) else given
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not is_number or not 0 <= seconds <= _LONGEST_GRACE_S:
        raise QueryError(
            f"grace_s must be 0 to {_LONGEST_GRACE_S:,} seconds, or a timedelta; found {given!r}"
        )
    return float(seconds)


def refuse_what_does_not_run(query: Query) -> None:
    """Only what this version can carry out may be declared.

    Raises:
        QueryError: another model than ticks, market schedule and bars, or no tumbling window.
    """
    for use, model, known in (
        ("source", query.source, Tick),
        ("into", query.target, Rate),
        ("based_on", query.schedule.model if query.schedule else MarketSchedule, MarketSchedule),
    ):
        if (model.columns, model.key) != (known.columns, known.key):
            raise QueryError(
                f"{use} must have the columns and the key of {known.name}, found {model.name} "
                f"({', '.join(column.name for column in model.columns)}): say in [ticks] of the "
                "settings which fields of your records these are"
            )
    join = query.schedule
    if join and (join.opens, join.closes, join.day) != ("open", "close", "trading_date"):
        raise QueryError(
            "sessions go from open to close and count for trading_date, found "
            f"opens={join.opens!r}, closes={join.closes!r}, day={join.day!r}"
        )
    if not query.periods:
        raise QueryError(
            "the pipeline has no tumbling window, so there is nothing to make: add "
            ".tumbling(Period.minutes(1))"
        )
