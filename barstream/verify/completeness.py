"""Every in-session minute has its final, and nothing else has: minute by minute of each series."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from barstream.codecs.topics.withdrawal import Withdrawn
from barstream.model.bar_fields import BAR_FIELDS, PRICES, FieldKind
from barstream.model.time import MINUTE_US
from barstream.verify.expected_minutes import Stretch, expected_minutes
from barstream.verify.findings import Finding, Findings, Kind
from barstream.verify.hours import Minutes
from barstream.verify.minute_fold import FOLDED, fold
from barstream.verify.published_bars import Published, longs
from barstream.verify.scan import Recomputed, shown_ticks
from barstream.verify.schedule_changes import ScheduleChanges
from barstream.verify.series_number import SeriesNumbers
from barstream.verify.session_reports import SessionReport, session_reports
from barstream.verify.tick_class import Judge
from barstream.verify.turnover import NOWHERE, may_lack

Longs = NDArray[np.int64]
_NEVER_US: Final = -(1 << 60)
_ZERO: Final = {FieldKind.FLOAT: 0.0, FieldKind.LONG: 0}
#: What a bar without a tick has beside its prices.
_EMPTY: Final[Mapping[str, Any]] = {
    **{
        field.name: _ZERO[field.kind] if field.is_sum else None
        for field in BAR_FIELDS
        if field.name in FOLDED and not field.is_price
    },
    "synthetic": True,
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which minutes of a series are judged: [``from_us``, ``until_us``).

    Attributes:
        kept_us: minutes before it may be gone with retention.
    """

    from_us: int
    until_us: int
    kept_us: int


@dataclass(slots=True)
class Completeness:
    """Judges the minutes of one partition, a series at a time; see `check`.

    Attributes:
        stretches: of a series, the hours it was closed by, ascending.
        withdrawn: of series that were dropped: tombstones took bars of before.
        turnover_from: see `barstream.verify.turnover`.
        corrected: by bar, what its fields should be, where synthetic bars are wrong.
        extra: bars that must not be there.
        lacking: minutes that have no final and must have one: fields as far as ticks give them.
        sessions: the reports, by series and session.
    """

    partition: int
    series: SeriesNumbers
    published: Published
    ticks: Recomputed
    loose: pl.DataFrame
    judge: Judge
    changes: ScheduleChanges
    revises: bool
    stretches: Callable[[int, pl.DataFrame], Sequence[Stretch]]
    findings: Findings
    withdrawn: Withdrawn = field(default_factory=Withdrawn)
    turnover_from: int = NOWHERE
    corrected: dict[int, dict[str, Any]] = field(default_factory=dict)
    extra: set[int] = field(default_factory=set)
    lacking: list[dict[str, Any]] = field(default_factory=list)
    sessions: list[SessionReport] = field(default_factory=list)
    #: By series the minutes whose bar a tombstone took, ascending, with their close offsets.
    taken: dict[int, list[tuple[int, int | None]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        withdrawn = self.published.withdrawn
        for number, bucket_us in sorted(withdrawn):
            closed = withdrawn[number, bucket_us]
            self.taken.setdefault(number, []).append((bucket_us, closed))

    def check(self, number: int, bounds: Bounds) -> None:
        """Judge the minutes of a series."""
        low, high = np.searchsorted(
            self.published.bars["series"].to_numpy(), [number, number + 1]
        ).tolist()
        one = _Series(self, number, low, high, bounds)
        one.check()


class _Series:
    """One series: its finals are the rows [low, high) of the published bars."""

    def __init__(
        self, all_of: Completeness, number: int, low: int, high: int, bounds: Bounds
    ) -> None:
        self._all = all_of
        self._number = number
        self._name = all_of.series.names[number]
        self._low = low
        self._bars = all_of.published.bars[low:high]
        self._bucket = self._bars["bucket_us"].to_numpy()
        self._real = all_of.ticks.has_ticks[low:high] | ~self._bars["synthetic"].to_numpy()
        self._bounds = bounds
        #: Whether a bar has the date it was begun with, and not that of the hours it closed by.
        self._keeps_date = np.zeros(len(self._bucket), np.bool_)
        self._unmade = self._ticks_without_bar()
        self._may_lack = self._bars.select(may_lack(all_of.turnover_from)).to_series().to_numpy()

    def _ticks_without_bar(self) -> dict[int, pl.DataFrame]:
        """Ticks of closed minutes that are in no final and were not refused, by minute."""
        mine = self._all.loose.filter((pl.col("series") == self._number) & ~pl.col("refused"))
        return {
            int(bucket_us): ticks
            for (bucket_us,), ticks in mine.group_by(["bucket_us"], maintain_order=True)
        }

    def check(self) -> None:
        stretches = self._all.stretches(self._number, self._bars)
        if all(each.hours is None for each in stretches):
            self._expect_nothing("the series has no row in the market schedule")
            return
        start_us = self._start_us()
        if start_us is None:
            self._check_withdrawn(set())
            self._lost_ticks(set())
            return
        last_us = int(self._bucket[-1]) + MINUTE_US if len(self._bucket) else start_us
        until_us = max(self._bounds.until_us, last_us)
        minutes, part = expected_minutes(stretches, start_us, until_us)
        if not len(minutes.start_us):
            self._expect_nothing("no session of the series has an instant of this minute")
            return
        at = _places(minutes.start_us, self._bucket)
        for bar in np.flatnonzero(at < 0).tolist():
            if not self._sessions_then(bar):
                self._not_expected(bar, "no session of the series has an instant of this minute")
        self._check_sessions(minutes, at)
        present = np.zeros(len(minutes.start_us), np.int64) - 1
        present[at[at >= 0]] = np.flatnonzero(at >= 0)
        asleep = self._asleep(stretches, part, minutes, at, self._real)
        self._check_asleep(asleep, present)
        if self._all.revises:
            # a late tick that makes a flat bar a real one fills nothing: minutes after it may be
            # asleep as they were before it came
            first_hand = self._real & (longs(self._bars, "first_synthetic", absent=1) == 0)
            before = self._asleep(stretches, part, minutes, at, first_hand, unknown=True)
            asleep |= before & (present < 0)
            # what a late tick made is followed by what was in session when it came
            for each in stretches[1:]:
                if each.hours is not None:
                    asleep |= (each.hours.at_minutes(minutes.start_us) < 0) & (present < 0)
        due = minutes.start_us < self._bounds.until_us
        missing = due & (present < 0) & ~asleep & (minutes.start_us >= self._bounds.kept_us)
        missing &= ~self._is_broken(minutes.start_us)
        lacking = self._check_missing(minutes, missing)
        self._check_withdrawn(set(minutes.start_us[missing].tolist()))
        self._check_flat()
        self._lost_ticks(lacking)
        self._all.sessions += session_reports(
            self._name, self._bars, minutes, due, present, asleep, missing
        )

    def _expect_nothing(self, why: str) -> None:
        """No minute of the series is to have a bar."""
        for bar in range(len(self._bucket)):
            if not self._sessions_then(bar):
                self._not_expected(bar, why)
            self._check_session_then(bar)
        self._check_withdrawn(set())
        self._lost_ticks(set())

    def _start_us(self) -> int | None:
        """The first minute that has a bar, or must have one."""
        if self._number in self._all.published.before:
            return self._bounds.from_us
        found = [*self._bucket[:1].tolist(), *self._unmade]
        return None if not found else max(min(found), self._bounds.from_us)

    def _is_broken(self, start_us: Longs) -> NDArray[np.bool_]:
        broken = [us for number, us in self._all.published.unreadable if number == self._number]
        return np.isin(start_us, np.array(broken, np.int64))

    # -- asleep -------------------------------------------------------------------------------

    def _sessions_then(self, bar: int) -> set[tuple[int, int]]:
        """Trading date and session of a bar's minute, as the ticks that made it were judged.

        A bar keeps what it was begun with; one that a late tick made, and those filled after it,
        what was in force then.
        """
        judge, row = self._all.judge, self._bars.row(bar, named=True)
        regimes = judge.regimes
        if len(regimes) == 1:
            return set()
        first, found = row["first_close"], set()
        places = [row["first_offset"], row["last_offset"], row["close_offset"], first]
        places += [None if at is None else at - 1 for at in (row["close_offset"], first)]
        for offset in {at for at in places if at is not None and at >= 0}:
            hours = judge.hours_in(
                int(regimes.numbers(np.array([offset], np.int64))[0]), self._number
            )
            place = -1 if hours is None else int(hours.at_minutes(np.array([row["bucket_us"]]))[0])
            if hours is not None and place >= 0:
                found.add(hours.of_row(place))
        if row["revision"] > 0 or self._is_behind(bar):
            found |= self._sessions_now(row["bucket_us"])
        return found

    def _is_behind(self, bar: int) -> bool:
        """Whether the bar after it was there before: a switch-over to a replay put it in."""
        first_us = self._bars["first_appended_us"]
        if bar + 1 == len(first_us) or first_us[bar] is None or first_us[bar + 1] is None:
            return False
        return bool(first_us[bar + 1] < first_us[bar])

    def _sessions_now(self, bucket_us: int) -> set[tuple[int, int]]:
        """Trading date and session of a minute by the rows of now; none off session."""
        hours = self._all.judge.hours(self._number)
        place = -1 if hours is None else int(hours.at_minutes(np.array([bucket_us]))[0])
        return set() if hours is None or place < 0 else {hours.of_row(place)}

    def _asleep(
        self,
        stretches: Sequence[Stretch],
        part: Longs,
        minutes: Minutes,
        at: Longs,
        seen: NDArray[np.bool_],
        *,
        unknown: bool = False,
    ) -> NDArray[np.bool_]:
        """Minutes more than ``inactive_after`` trading dates after the last bar of ``seen``.

        Where there is none before it is ``unknown``.  Dates are counted by the hours in force,
        those of the stretch of each minute.
        """
        real = self._bucket[seen]
        dates = longs(self._bars, "trading_date")
        changed = (at >= 0) & ~self._keeps_date
        dates = np.where(changed, minutes.trading_date[at], dates)[seen]
        made = np.array(sorted(self._unmade), np.int64)
        if len(made):
            made_dates = minutes.trading_date[
                np.minimum(np.searchsorted(minutes.start_us, made), len(minutes.start_us) - 1)
            ]
            order = np.argsort(np.concatenate([real, made]), kind="stable")
            real = np.concatenate([real, made])[order]
            dates = np.concatenate([dates, made_dates])[order]
        earlier = self._all.published.before_real.get(self._number)
        if earlier is not None:
            real = np.concatenate([[earlier["bucket_us"]], real])
            dates = np.concatenate([[earlier["trading_date"]], dates])
        if not len(real):
            return np.full(len(minutes.start_us), unknown)
        last = np.searchsorted(real, minutes.start_us, side="right") - 1
        asleep = np.zeros(len(minutes.start_us), np.bool_)
        for number, stretch in enumerate(stretches):
            mine = part == number
            if stretch.hours is None or not mine.any():
                continue
            seen_on = stretch.hours.ordinals(dates)[np.maximum(last[mine], 0)]
            asleep[mine] = minutes.ordinal[mine] > seen_on + stretch.inactive_after
        return np.where(last >= 0, asleep, unknown)

    def _check_asleep(self, asleep: NDArray[np.bool_], present: Longs) -> None:
        # one with ticks wakes the series, or counts from a date that is no more
        for bar in [at for at in present[asleep & (present >= 0)].tolist() if not self._real[at]]:
            self._not_expected(
                bar,
                "the series was asleep: more trading dates than bars.inactive_after allows had "
                "passed without a tick",
            )

    # -- what is there ------------------------------------------------------------------------

    def _not_expected(self, bar: int, why: str) -> None:
        row = self._bars.row(bar, named=True)
        if self._add(
            "not_expected", row["bucket_us"], why, row["appended_us"], offset=row["close_offset"]
        ):
            self._all.extra.add(self._low + bar)

    def _check_sessions(self, minutes: Minutes, at: Longs) -> None:
        known = np.flatnonzero(at >= 0)
        for bar in np.flatnonzero(at < 0).tolist():
            self._check_session_then(bar)
        for name, wanted in (("trading_date", minutes.trading_date), ("session", minutes.session)):
            found = longs(self._bars, name)[known]
            for place in np.flatnonzero(found != wanted[at[known]]).tolist():
                bar = int(known[place])
                expected = int(wanted[at[bar]])
                then = self._sessions_then(bar)
                if int(found[place]) in {each[name == "session"] for each in then}:
                    self._keeps_date[bar] |= name == "trading_date"
                    continue
                if self._add(
                    "field", int(self._bucket[bar]), f"{name} must be that of its session",
                    self._bars["appended_us"][bar], name, expected, int(found[place]),
                    offset=self._bars["close_offset"][bar],
                ):  # fmt: skip
                    self._correct(bar, {name: expected})

    def _check_session_then(self, bar: int) -> None:
        """Of a bar whose minute is in no session any more: it has those it was judged by."""
        then = self._sessions_then(bar)
        row = self._bars.row(bar, named=True)
        if not then or (row["trading_date"], row["session"]) in then:
            return
        for place, name in enumerate(("trading_date", "session")):
            every = {each[place] for each in then}
            if row[name] in every and len(every) == 1:
                continue
            self._add(
                "field", row["bucket_us"],
                f"{name} must be that of the session it had when it was judged",
                row["appended_us"], name, min(every), row[name], offset=row["close_offset"],
            )  # fmt: skip

    def _check_missing(self, minutes: Minutes, missing: NDArray[np.bool_]) -> set[int]:
        """Minutes that must have a final; returns those that have ticks."""
        with_ticks: set[int] = set()
        for at in np.flatnonzero(missing).tolist():
            bucket_us = int(minutes.start_us[at])
            ticks = self._unmade.get(bucket_us)
            is_withdrawn = (self._number, bucket_us) in self._all.published.withdrawn
            if is_withdrawn and self._may_withdraw and not self._sessions_now(bucket_us):
                # a switch-over to a replay by the sessions of now
                continue
            row: dict[str, Any] = {
                "series": self._number, "bucket_us": bucket_us,
                "trading_date": int(minutes.trading_date[at]), "session": int(minutes.session[at]),
                "revision": 0, **_EMPTY,
            }  # fmt: skip
            if ticks is None:
                why = "an in-session minute without a tick must have a synthetic final"
            else:
                with_ticks.add(bucket_us)
                folded = fold(ticks.with_columns(bar=pl.lit(0, pl.Int64)))
                row |= folded.row(0, named=True) | {"synthetic": False}
                row.pop("bar")
                why = f"it has {len(ticks)} accepted ticks and must have a final"
            written_us, offset = self._written_before(bucket_us)
            if self._add("missing", bucket_us, why, written_us, ticks=ticks, offset=offset):
                self._all.lacking.append(row)
        return with_ticks

    @property
    def _may_withdraw(self) -> bool:
        """Whether a switch-over to a replay may have taken bars back."""
        regimes = self._all.judge.regimes
        return regimes.is_rewritten or not regimes.is_told

    def _check_withdrawn(self, missing: set[int]) -> None:
        """A worker takes no final back; a drop took those of before.

        Args:
            missing: minutes that must have one, of which that was said.
        """
        if self._may_withdraw:
            return
        below = self._all.withdrawn.end(self._name).ticks
        for bucket_us, closed in self._all.taken.get(self._number, ()):
            if bucket_us in missing:
                continue
            if below and (closed is None or closed <= below):
                continue
            self._add(
                "missing", bucket_us,
                "its final was withdrawn with a tombstone, and only a switch-over to a replay or "
                "a drop of its series does that",
                None, offset=None,
            )  # fmt: skip

    def _written_before(self, bucket_us: int) -> tuple[int | None, int | None]:
        """When the bar before (else after) a missing one was written, and its close offset."""
        if not len(self._bucket):
            return None, None
        at = max(0, int(np.searchsorted(self._bucket, bucket_us)) - 1)
        return int(self._bars["appended_us"][at]), self._bars["close_offset"][at]

    def _lost_ticks(self, in_missing_bars: set[int]) -> None:
        """Accepted or late, a tick of a closed minute is in a bar or among the rejected."""
        for bucket_us, ticks in self._unmade.items():
            if bucket_us in in_missing_bars:
                continue
            self._add(
                "lost_tick", bucket_us,
                f"{len(ticks)} ticks of a minute that is closed and has no bar must stand in "
                "ticks_rejected as late",
                self._written_before(bucket_us)[0], ticks=ticks, offset=int(ticks["offset"][0]),
            )  # fmt: skip

    def _check_flat(self) -> None:
        """Bars without a tick are flat at the close before them, be it of a missing bar."""
        flat = np.flatnonzero(~self._all.ticks.has_ticks[self._low : self._low + len(self._bars)])
        flat = flat[self._bars["synthetic"].to_numpy()[flat]]
        if not len(flat):
            return
        close = self._all.ticks.close[self._low : self._low + len(self._bars)]
        price = self._prices_before(flat, close)
        wanted: dict[str, Any] = {**dict.fromkeys(PRICES, price), **_EMPTY}
        wrong: dict[int, list[str]] = {}
        for name, value in wanted.items():
            column = self._bars[name]
            if name in PRICES:
                found = column.to_numpy()[flat].view(np.int64)
                odd = (found != price.view(np.int64)) & ~np.isnan(price)
            else:
                odd = column.ne_missing(pl.Series([value], dtype=column.dtype)).to_numpy()[flat]
                if name == "turnover":
                    odd &= ~self._may_lack[flat]
            for place in np.flatnonzero(odd).tolist():
                wrong.setdefault(place, []).append(name)
        for place, names in wrong.items():
            bar = int(flat[place])
            for name in names:
                expected = float(price[place]) if name in PRICES else wanted[name]
                if self._add(
                    "field", int(self._bucket[bar]),
                    f"{name} of a minute without a tick must be "
                    + ("the close before it" if name in PRICES else "empty"),
                    self._bars["appended_us"][bar], name, expected, self._bars[name][bar],
                    offset=self._bars["close_offset"][bar],
                ):  # fmt: skip
                    self._correct(bar, {name: expected})
        for place in np.flatnonzero(np.isnan(price)).tolist():
            bar = int(flat[place])
            gone = self._bounds.kept_us > _NEVER_US
            self._add(
                "first" if not gone else "price_gone", int(self._bucket[bar]),
                "the first bar of a series has ticks: no price is known before it",
                self._bars["appended_us"][bar], unproven=gone,
                offset=self._bars["close_offset"][bar],
            )  # fmt: skip

    def _prices_before(self, flat: Longs, close: NDArray[np.float64]) -> NDArray[np.float64]:
        times = [self._bucket[self._real], np.array(sorted(self._unmade), np.int64)]
        made = [
            fold(self._unmade[us].with_columns(bar=pl.lit(0, pl.Int64)))["close"][0]
            for us in sorted(self._unmade)
        ]
        closes = [close[self._real], np.array(made, np.float64)]
        earlier = self._all.published.before.get(self._number)
        if earlier is not None:
            times.append(np.array([earlier["bucket_us"]], np.int64))
            closes.append(np.array([earlier["close"]], np.float64))
        when, price = np.concatenate(times), np.concatenate(closes)
        order = np.argsort(when, kind="stable")
        when, price = when[order], price[order]
        if not len(when):
            return np.full(len(flat), np.nan)
        at = np.searchsorted(when, self._bucket[flat]) - 1
        return np.where(at >= 0, price[np.maximum(at, 0)], np.nan)

    def _correct(self, bar: int, fields: dict[str, Any]) -> None:
        self._all.corrected.setdefault(self._low + bar, {}).update(fields)

    def _add(
        self,
        rule: str,
        bucket_us: int,
        detail: str,
        appended_us: int | None,
        name: str | None = None,
        expected: Any = None,
        published: Any = None,
        *,
        offset: int | None,
        ticks: pl.DataFrame | None = None,
        unproven: bool = False,
    ) -> bool:
        """Note a finding; returns whether it is a difference."""
        kind: Kind = (
            "unproven"
            if unproven
            else self._all.changes.kind_of(self._name, bucket_us, appended_us, offset)
        )
        self._all.findings.add(
            Finding(
                kind, rule, self._all.partition, detail, *self._name, "1m", bucket_us, None, name,
                expected, published, () if ticks is None else shown_ticks(ticks),
                0 if ticks is None else len(ticks),
            )
        )  # fmt: skip
        return kind == "difference"


def _places(keys: Longs, wanted: Longs) -> Longs:
    """Where each of ``wanted`` stands in ascending ``keys``, -1 where it does not."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)
