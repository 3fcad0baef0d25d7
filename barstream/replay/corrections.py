"""What a switch-over writes, worked out before anything is written; pure.

Minutes come from the replay.  Upper bars are folded anew from the minutes as they will stand: a
replay of two hours knows nothing of the rest of the day, and a parent must be the fold of what is
published below it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from barstream.market.schedule import ScheduleIndex, Series
from barstream.model.bar import Bar
from barstream.model.key import split_bar_key
from barstream.model.period import DAY, MINUTE, Period
from barstream.replay.compare import BarDifference
from barstream.replay.finals_after_cutover import Merged
from barstream.rules.rollup_fold import fold
from barstream.rules.rollup_members import RollUpMembers
from barstream.rules.series import FOREVER_US, NEVER_US, PartitionState, Rules, SeriesState

_Bucket = tuple[Period, Series, int]


@dataclass(slots=True)
class Mend:
    """What is to be written.

    Attributes:
        bars: that are changed or added, by period; their revisions are raised.
        withdrawn: series and bucket of bars that are taken back, by period.
        closes: close of the last final of each series that changes; None: it has none left.
        filled_dates: trading date of the last one of these with ticks; None: none is left.
        left: differences in bars that production has still to make itself, that have ticks the
            replay has not seen, or that cannot be folded because retention took a part: they stay.
        stale: a synthetic bar after the range would keep a price that is no longer the close
            before it.
    """

    bars: dict[Period, list[Bar]] = field(default_factory=dict)
    withdrawn: dict[Period, list[tuple[Series, int]]] = field(default_factory=dict)
    closes: dict[Series, float | None] = field(default_factory=dict)
    filled_dates: dict[Series, int | None] = field(default_factory=dict)
    left: int = 0
    stale: list[tuple[Series, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, self.bars.values())) + sum(map(len, self.withdrawn.values()))


class Mending:
    """Works a `Mend` out.

    Args:
        finals: what is published.
        closed_us: how far each series is closed; of others nothing is changed.
        first_tick_us: event time of the first tick of each.
        index: the schedule.
        periods: of the upper bars.
        unseen: close offsets of bars that were made of ticks after the end of the replay: from
            there to the position of production.
    """

    def __init__(
        self,
        finals: Merged,
        closed_us: Mapping[Series, int],
        first_tick_us: Mapping[Series, int],
        index: ScheduleIndex,
        periods: Iterable[Period],
        unseen: range,
    ) -> None:
        self._finals = finals
        self._closed_us = closed_us
        self._first_tick_us = first_tick_us
        self._unseen = unseen
        self._children: Final = RollUpMembers(finals)
        self._state = PartitionState(Rules())
        self._state.use_schedule(index)
        every = tuple(periods)
        self._of_minutes = [period for period in every if not period.is_made_of_days]
        self._of_days = [period for period in every if period.is_made_of_days]
        self._mend = Mend()

    def of(self, differences: Sequence[BarDifference]) -> Mend:
        """What has to be written for ``differences``, of all periods of one partition."""
        uppers: dict[_Bucket, BarDifference] = {}
        minutes: list[BarDifference] = []
        for each in differences:
            broker, symbol, bucket_us = split_bar_key(each.key)
            if each.period == MINUTE:
                minutes.append(each)
            else:
                uppers[each.period, (broker, symbol), bucket_us] = each
        buckets: dict[_Bucket, Bar | None] = dict.fromkeys(
            place for place in uppers if not place[0].is_made_of_days
        )
        changed = [each for each in minutes if self._take(each)]
        for each in changed:
            for bar in (each.published, each.replayed):
                if bar is not None:
                    buckets.update(self._parents(self._of_minutes, bar))
        days: dict[_Bucket, Bar | None] = dict.fromkeys(
            place for place in uppers if place[0].is_made_of_days
        )
        for place, child in buckets.items():
            day = self._mend_parent(place, child, uppers.get(place))
            if day is not None and place[0] == DAY:
                days.update(self._parents(self._of_days, day))
        for place, child in days.items():
            self._mend_parent(place, child, uppers.get(place))
        self._follow(changed)
        return self._mend

    def _take(self, found: BarDifference) -> bool:
        """Change a minute; False: production will make it itself, or has ticks unknown here."""
        broker, symbol, bucket_us = split_bar_key(found.key)
        closed_us = self._closed_us.get((broker, symbol), NEVER_US)
        old = found.published
        if bucket_us >= closed_us or (old is not None and old.close_offset in self._unseen):
            self._mend.left += 1
            return False
        if found.replayed is None:
            self._withdraw(MINUTE, (broker, symbol), bucket_us)
        else:
            self._put(MINUTE, _raised(found.replayed, found.published))
        return True

    def _parents(self, periods: Iterable[Period], child: Bar) -> dict[_Bucket, Bar | None]:
        name = child.broker, child.symbol
        series = self._series(name)
        return {
            (period, name, self._children.bucket(series, period, child)): child
            for period in periods
        }

    def _series(self, name: Series) -> SeriesState:
        known = self._state.get(*name)
        if known is None:
            known = self._state.add(*name)
            known.first_tick_us = self._first_tick_us.get(name, known.first_tick_us)
        return known

    def _mend_parent(
        self, place: _Bucket, child: Bar | None, found: BarDifference | None
    ) -> Bar | None:
        """Fold one upper bar anew; it, or what it was, if that changed."""
        period, name, bucket_us = place
        published = self._finals.get(period, *name, bucket_us)
        replayed = None if found is None else found.replayed
        if published is None and replayed is None:
            return None  # not over yet
        series = self._series(name)
        unfinished = period.advance(bucket_us) > self._closed_us.get(name, NEVER_US)
        if (published is None and unfinished) or self._children.is_cut(series, period, bucket_us):
            self._mend.left += found is not None
            return None
        children = self._children.of(series, period, bucket_us, child)
        if not children or (found is not None and replayed is None):
            if published is not None:
                self._withdraw(period, name, bucket_us)
            return published
        bar = fold(children, bucket_us)
        if replayed is not None:
            bar = bar.replace(revision=max(bar.revision, replayed.revision))
        if published is not None and _is_mended(published, bar):
            return None
        bar = _raised(bar, published)
        self._put(period, bar)
        return bar

    def _put(self, period: Period, bar: Bar) -> None:
        self._finals.put(period, bar)
        self._mend.bars.setdefault(period, []).append(bar)

    def _withdraw(self, period: Period, name: Series, bucket_us: int) -> None:
        self._finals.remove(period, *name, bucket_us)
        self._mend.withdrawn.setdefault(period, []).append((name, bucket_us))

    def _follow(self, changed: Sequence[BarDifference]) -> None:
        """The price that later minutes are filled with, and minutes that were filled already."""
        keys = {each.key for each in changed}
        done: set[tuple[str, str, int]] = {split_bar_key(key) for key in keys}
        for broker, symbol, bucket_us in sorted(done):
            name = broker, symbol
            before = self._finals.before(MINUTE, *name, bucket_us + 1)
            after = self._finals.after(MINUTE, *name, bucket_us)
            if before is None or after is None or not after.synthetic:
                continue
            if (*name, after.bucket_start_us) not in done and after.open != before.close:
                self._mend.stale.append((name, after.bucket_start_us))
        for broker, symbol in {place[:2] for place in done}:
            name = broker, symbol
            last = self._finals.before(MINUTE, *name, FOREVER_US)
            self._mend.closes[name] = None if last is None else last.close
            while last is not None and last.synthetic:
                last = self._finals.before(MINUTE, *name, last.bucket_start_us)
            self._mend.filled_dates[name] = None if last is None else last.trading_date


def _is_mended(published: Bar, bar: Bar) -> bool:
    """Whether nothing differs but that the published bar came again more often."""
    return (
        published.revision >= bar.revision and bar.replace(revision=published.revision) == published
    )


def _raised(bar: Bar, published: Bar | None) -> Bar:
    """The bar as it is published: readers see by its revision that it came again."""
    if published is None:
        return bar
    return bar.replace(revision=max(bar.revision, published.revision + 1))
