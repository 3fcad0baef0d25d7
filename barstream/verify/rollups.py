"""Upper bars: each the fold of its children, there when it must be, and not before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.model.bar_fields import PRICES
from barstream.model.period import DAY, Period
from barstream.model.time import DAY_US, MINUTE_US
from barstream.verify.buckets import end_us
from barstream.verify.completeness import Completeness
from barstream.verify.findings import Finding, Findings, Kind
from barstream.verify.hours import Hours
from barstream.verify.published_bars import Published
from barstream.verify.rollup_fold import CHILD, ROLLED, roll
from barstream.verify.rollup_grid import first_instant, parents_of, to_come
from barstream.verify.schedule_changes import ScheduleChanges
from barstream.verify.series_number import SeriesNumbers
from barstream.verify.tick_class import Judge

Longs = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SeriesStand:
    """How far one series has come.

    Attributes:
        closed_us: every minute before it was closed when the look began.
        closed_now_us: likewise when everything had been read.
        kept_us: minutes before it may be gone with retention.
        seen_on: trading date of its last bar with ticks; None: there is none.
        evidence_us: the latest append time of a heartbeat.
        woken_us: starts of the bars with ticks before which it had slept.
    """

    closed_us: int
    closed_now_us: int
    kept_us: int
    seen_on: int | None
    evidence_us: int
    woken_us: Longs


def true_minutes(
    complete: Completeness, bars: pl.DataFrame, corrected: dict[int, dict[str, Any]],
    closed_wrong: set[int],
) -> pl.DataFrame:  # fmt: skip
    """The minutes as they should be: what parents are held to, so that an error is told once.

    Args:
        complete: what is extra, what is lacking.
        bars: the published minutes.
        corrected: fields that should be others, by bar.
        closed_wrong: bars whose close offset is not known.
    """
    kept = bars.with_row_index("at").filter(~pl.col("at").is_in(sorted(complete.extra)))
    wrong = sorted((corrected.keys() | closed_wrong) - complete.extra)
    right = kept.filter(~pl.col("at").is_in(wrong)).select(CHILD)
    rows = []
    for at in wrong:
        row = {name: bars[name][at] for name in CHILD} | corrected.get(at, {})
        if at in closed_wrong:
            row["close_offset"] = None
        rows.append(row)
    rows += [dict.fromkeys(CHILD) | row for row in complete.lacking]
    added = pl.DataFrame([{name: row[name] for name in CHILD} for row in rows], schema=right.schema)
    # a missing bar without ticks is flat at the close before it
    flat = pl.col("synthetic") & pl.col("open").is_null()
    whole = pl.concat([right, added]).sort("series", "bucket_us")
    before = pl.col("close").forward_fill().over("series")
    return whole.with_columns(
        *(pl.when(flat).then(before).otherwise(pl.col(name)).alias(name)
          for name in PRICES)
    )  # fmt: skip


@dataclass(slots=True)
class Uppers:
    """Verifies the upper bars of one partition.

    Attributes:
        inside: whether a bucket [start, end) lies in the range asked for.
        skipped: buckets of which a part is gone or out of range, by timeframe.
    """

    partition: int
    series: SeriesNumbers
    hours: Callable[[int], Hours | None]
    stands: Sequence[SeriesStand]
    changes: ScheduleChanges
    judge: Judge
    inactive_after: int
    grace_us: int
    inside: Callable[[int, int], bool]
    findings: Findings
    skipped: dict[str, int] = field(default_factory=dict)
    _minutes: pl.DataFrame = field(default_factory=pl.DataFrame)
    #: Days that stand as they were published.
    _excused: list[dict[str, Any]] = field(default_factory=list)

    def check(self, period: Period, children: pl.DataFrame, published: Published) -> pl.DataFrame:
        """Verify the bars of a period; returns them as they should be.

        Args:
            period: of the parents.
            children: minutes, or days, as they should be.
            published: the parents.
        """
        self._minutes, self._excused = children, []
        parts = [
            mine.with_columns(parent=pl.Series(parents_of(period, mine, hours), dtype=pl.Int64))
            for (number,), mine in children.group_by(["series"], maintain_order=True)
            if (hours := self._grid(int(str(number)))) is not None
        ]
        expected = roll(pl.concat(parts)) if parts else children.clear().select(CHILD)
        judged = [
            self._judged(period, int(number), int(bucket))
            for number, bucket in expected.select("series", "bucket_us").iter_rows()
        ]
        names = ["series", "bucket_us"]
        expected = expected.with_columns(verdict=pl.Series(judged, dtype=pl.String))
        both = expected.join(
            published.bars, on=names, how="full", suffix="_published", coalesce=True,
            maintain_order="left_right",
        )  # fmt: skip
        for row in both.filter(self._suspect()).iter_rows(named=True):
            self._compare(period, row, published)
        gone = expected.filter(pl.col("verdict") == "cut")
        if len(gone):
            self.skipped[period.timeframe] = len(gone)
        known = published.bars.select(*names, seen="close_offset", rev="revision")
        right = (
            expected.join(known, on=names, how="left", maintain_order="left")
            # what need not be there is a child of weeks and months only if it is
            .filter(
                (pl.col("verdict") == "must")
                | ((pl.col("verdict") == "may") & pl.col("seen").is_not_null())
            )
            .with_columns(
                close_offset=pl.coalesce("seen", "close_offset"),
                revision=pl.coalesce("rev", "revision"),
            )
            .select(CHILD)
        )
        if not self._excused:
            return right
        excused = pl.DataFrame(self._excused, schema=right.schema)
        others = right.join(excused, on=names, how="anti")
        return pl.concat([others, excused]).sort(names)

    @staticmethod
    def _suspect() -> pl.Expr:
        """Rows that need a look one by one: not the ones in which all is equal."""
        wrong = [
            pl.col(name).ne_missing(pl.col(f"{name}_published"))
            for name in ROLLED
            if name != "close_offset"
        ]
        close = pl.col("close_offset")
        return (
            pl.any_horizontal(wrong)
            | (close.is_not_null() & close.ne_missing(pl.col("close_offset_published")))
            | (pl.col("revision_published") < pl.col("revision"))
            | pl.col("key").is_null()
            | pl.col("verdict").is_null()
            | (pl.col("verdict") == "not_yet")
        ) & (pl.col("verdict").is_null() | (pl.col("verdict") != "cut"))

    def _grid(self, number: int) -> Hours | None:
        """The hours of a series; of one whose rows were all withdrawn the last it had."""
        hours = self.hours(number)
        before = (each for each in reversed(self.judge.every_hours(number)) if each is not None)
        return next(before, None) if hours is None else hours

    def _judged(self, period: Period, number: int, bucket_us: int) -> str:
        """``must`` be there, ``may``, must ``not_yet``; ``cut``: a part of it cannot be seen."""
        hours, stand = self._grid(number), self.stands[number]
        if hours is None:
            return "cut"
        over_us = end_us(period, bucket_us)
        first_us = first_instant(period, bucket_us, hours)
        if first_us < stand.kept_us or not self.inside(*self._extent(period, bucket_us, hours)):
            return "cut"
        if self.hours(number) is None:
            return "may"  # what is still to come is not known
        left = to_come(period, bucket_us, stand.closed_us, hours)
        if not len(left.start_us):
            if not period.is_made_of_days or hours.last_date >= over_us // DAY_US:
                return "must"
            has_evidence = stand.evidence_us >= over_us + self.grace_us
            return "may" if has_evidence else "not_yet"
        now = to_come(period, bucket_us, stand.closed_now_us, hours)
        if stand.seen_on is not None:
            seen_on = int(hours.ordinals(np.array([stand.seen_on], np.int64))[0])
            awake = now.ordinal <= seen_on + self.inactive_after
        else:
            awake = np.ones(len(now.start_us), np.bool_)
        if not awake.any():
            return "may"
        # it was final when the series fell asleep inside it, and is revised by what came after
        _, closes_us = self._extent(period, bucket_us, hours)
        woken = (stand.woken_us > first_us) & (stand.woken_us < closes_us)
        return "may" if woken.any() else "not_yet"

    @staticmethod
    def _extent(period: Period, bucket_us: int, hours: Hours) -> tuple[int, int]:
        over_us = end_us(period, bucket_us)
        if period.is_intraday:
            return bucket_us, over_us
        close_us = hours.close_of(bucket_us // DAY_US, over_us // DAY_US)
        return first_instant(period, bucket_us, hours), over_us if close_us is None else close_us

    def _compare(self, period: Period, row: dict[str, Any], published: Published) -> None:
        verdict = row["verdict"]
        if row["key"] is None:
            if (row["series"], row["bucket_us"]) in published.unreadable:
                return
            if verdict == "must" and not self._may_be_gone(row, published):
                row["appended_us"] = self._passed_us(row, published)
                self._add(period, row, "missing", "all its minutes are closed, it must be final")
            return
        if verdict is None:
            hours = self._grid(row["series"])
            if hours is not None and not self._is_out(period, row, hours):
                self._add(period, row, "not_expected", "no final child belongs to this bucket")
            return
        if verdict == "not_yet":
            self._add(
                period, row, "not_expected",
                "a minute of its sessions is not closed yet, or nothing shows that it is over",
            )  # fmt: skip
            return
        self._compare_fields(period, row)

    def _excuse(self, period: Period, row: dict[str, Any]) -> Kind | None:
        """What a day that is not the fold of its minutes by the hours of now may be.

        Minutes keep the trading date they were begun with, also where sessions are moved away: it
        may be their fold between the ends the day had in some regime.  Late ticks are merged by
        the hours of their time, in any order: then it cannot be told.
        """
        number, bucket_us = row["series"], row["bucket_us"]
        if period.is_intraday or not self.judge.has_changed(
            number, bucket_us, end_us(period, bucket_us)
        ):
            return None
        if period != DAY:
            return "unproven"
        date = bucket_us // DAY_US
        dated = (pl.col("series") == number) & (pl.col("trading_date") == date)
        mine = self._minutes.filter(dated)
        for hours in self.judge.every_hours(number):
            open_us = None if hours is None else hours.open_of(date, date + 1)
            close_us = None if hours is None else hours.close_of(date, date + 1)
            if open_us is None or close_us is None:
                continue
            between = (pl.col("bucket_us") > open_us - MINUTE_US) & (pl.col("bucket_us") < close_us)
            rolled = roll(mine.filter(between).with_columns(parent=pl.lit(bucket_us, pl.Int64)))
            if len(rolled) and all(
                rolled[name][0] == row[f"{name}_published"]
                for name in ROLLED
                if name not in {"trading_date", "session"}
            ):
                return "schedule"
        return "unproven" if self.judge.regimes.revises else None

    def _compare_fields(self, period: Period, row: dict[str, Any]) -> None:
        excuse = self._excuse(period, row)
        if excuse is not None:
            published = {name: row[f"{name}_published"] for name in CHILD[2:]}
            self._excused.append({name: row[name] for name in CHILD[:2]} | published)
        for name in ROLLED:
            wanted, found = row[name], row[f"{name}_published"]
            if name == "close_offset" and wanted is None:
                continue
            if wanted != found:
                self._add(
                    period, row, "field", f"{name} must be what its children give", name, wanted,
                    found, excuse=excuse,
                )  # fmt: skip
        if row["revision_published"] < row["revision"]:
            self._add(
                period, row, "field",
                "the revision of a parent is at least the sum of its children's",
                "revision", row["revision"], row["revision_published"], excuse=excuse,
            )  # fmt: skip

    def _is_out(self, period: Period, row: dict[str, Any], hours: Hours) -> bool:
        """Whether the children of a published bar may be gone, or are not in the range."""
        first_us = first_instant(period, row["bucket_us"], hours)
        return first_us < self.stands[row["series"]].kept_us or not self.inside(
            *self._extent(period, row["bucket_us"], hours)
        )

    @staticmethod
    def _may_be_gone(row: dict[str, Any], published: Published) -> bool:
        if published.begin == 0:
            return False
        mine = published.bars.filter(pl.col("series") == row["series"])
        return mine.is_empty() or row["bucket_us"] < int(mine["bucket_us"][0])

    @staticmethod
    def _passed_us(row: dict[str, Any], published: Published) -> int | None:
        """When the next bar of the series was written: a missing one came before it."""
        later = published.bars.filter(
            (pl.col("series") == row["series"]) & (pl.col("bucket_us") > row["bucket_us"])
        )
        return None if later.is_empty() else int(later["appended_us"][0])

    def _add(
        self,
        period: Period,
        row: dict[str, Any],
        rule: str,
        detail: str,
        name: str | None = None,
        expected: Any = None,
        published: Any = None,
        *,
        excuse: Kind | None = None,
    ) -> None:
        series = self.series.names[row["series"]]
        appended_us = row.get("appended_us")
        by_structure = rule != "field" or name in {"trading_date", "session"}
        over_us = end_us(period, row["bucket_us"])
        by_structure &= self.judge.has_changed(row["series"], row["bucket_us"], over_us) or (
            not self.judge.regimes.is_told
            and self.changes.explain(series, row["bucket_us"], appended_us, None)
        )
        kind: Kind = excuse or ("schedule" if by_structure else "difference")
        self.findings.add(
            Finding(
                kind, rule, self.partition, detail, series[0], series[1], period.timeframe,
                row["bucket_us"], None, name, expected, published,
            )
        )  # fmt: skip


def in_order(periods: Sequence[Period]) -> list[Period]:
    """Days before what is made of them; with those, days have to be looked at as well."""
    of_days = [period for period in periods if period.is_made_of_days]
    others = [period for period in periods if not period.is_made_of_days]
    if of_days and DAY not in others:
        others.append(DAY)
    return [*others, *of_days]
