"""Which periods are in force, and how long the bars of each are kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from barstream.config.fields import period_of
from barstream.config.settings import Settings
from barstream.errors import ConfigError
from barstream.model.period import DAY, MINUTE, Period
from barstream.model.time import DAY_US

#: The most days a unit has; a trading date may begin on the evening before.
_DAYS: Final = {"d": 1, "wk": 7, "mo": 31}
#: How long bars are kept where the settings do not say so.
_HOURS_TIMES: Final = 6
_LONG_DAYS: Final = 3650.0


@dataclass(frozen=True, slots=True)
class Periods:
    """What bars are made beside 1m.

    Attributes:
        upper: the periods in force, finest first; 1m is not among them.
        live: those whose open bars are published to a topic as well.
        added: those that nobody asked for, but others are made of.
    """

    upper: tuple[Period, ...]
    live: tuple[Period, ...]
    added: tuple[Period, ...] = ()


def periods_in_force(settings: Settings) -> Periods:
    """The periods that the settings say, and the days that weeks and months are made of.

    Raises:
        ConfigError: two have one name, one cannot be made, or is kept shorter than it takes.
    """
    bars = settings.bars
    asked = [period_of(text, bars.anchor) for text in bars.timeframes]
    # the grid of every kind of 1m and of 1d is the same
    asked = [{MINUTE.timeframe: MINUTE, DAY.timeframe: DAY}.get(p.timeframe, p) for p in asked]
    _refuse_twins(asked)
    if not bars.schedule:
        _refuse_sessions(asked)
    upper = [period for period in asked if period != MINUTE]
    added = (DAY,) if DAY not in upper and any(period.is_made_of_days for period in upper) else ()
    upper = sorted([*upper, *added], key=_length)
    periods = Periods(tuple(upper), _live(settings, upper), added)
    _refuse_short_retention(settings, periods.upper)
    return periods


def kept_days(settings: Settings, period: Period) -> float:
    """For how many days bars of a period are kept, in Kafka and on local disk.

    What `topics.timeframe_retention_days` says, else `topics.retention_days` for minutes, six
    times as long for hours, ten years for days, weeks and months.
    """
    topics = settings.topics
    if period.timeframe in topics.timeframe_retention_days:
        return topics.timeframe_retention_days[period.timeframe]
    if period.unit == "m":
        return topics.retention_days
    # a year of minutes is not to be cut by what is long enough for days
    if period.unit == "h":
        return _HOURS_TIMES * topics.retention_days
    return max(_LONG_DAYS, topics.retention_days)


def _length(period: Period) -> tuple[float, bool]:
    if period.is_intraday:
        return period.size_us / DAY_US, False
    return period.count * _DAYS[period.unit], True


def _refuse_twins(periods: Iterable[Period]) -> None:
    seen: dict[str, Period] = {}
    for period in periods:
        other = seen.setdefault(period.timeframe, period)
        if other is not period:
            raise ConfigError(
                f"bars.timeframes must name each timeframe once, found {other} and {period}: "
                f"both would be written to the topic of {period.timeframe}; take one out, or use "
                "another app_id and base for a second set of bars"
            )


def _refuse_sessions(periods: Iterable[Period]) -> None:
    anchored = [str(period) for period in periods if period.anchor == "session"]
    if anchored:
        raise ConfigError(
            f"{' '.join(anchored)} begin at the open of sessions, and this pipeline has none "
            "(bars.schedule is false): leave @session and bars.anchor out, the grid of 24x7 is UTC"
        )


def _live(settings: Settings, upper: Iterable[Period]) -> tuple[Period, ...]:
    named = {period.timeframe: period for period in upper}
    wanted = {text for text in settings.bars.live_timeframes if text != MINUTE.timeframe}
    if unknown := sorted(wanted - named.keys()):
        raise ConfigError(
            f"bars.live_timeframes must be among the timeframes in force ({_list(named)}), found "
            f"{_list(unknown)}: add them to bars.timeframes as well"
        )
    return tuple(period for name, period in named.items() if name in wanted)


def _refuse_short_retention(settings: Settings, upper: Iterable[Period]) -> None:
    """A bar folded from what is left of its bars would be wrong, and look like any other."""
    upper = tuple(upper)
    named = {period.timeframe for period in upper}
    if unknown := sorted(settings.topics.timeframe_retention_days.keys() - named):
        raise ConfigError(
            f"topics.timeframe_retention_days must be of timeframes in force ({_list(named)}), "
            f"found {_list(unknown)}: add them to bars.timeframes, or take them out"
        )
    for period in upper:
        source = DAY if period.is_made_of_days else MINUTE
        kept, needed = kept_days(settings, source), _takes_days(period)
        if kept < needed:
            key = "retention_days" if source == MINUTE else "timeframe_retention_days.1d"
            raise ConfigError(
                f"bars of {source} must be kept at least {needed:g} days, because {period} is made "
                f"of them; topics.{key} says {kept:g}: raise it, or leave {period} out"
            )


def _takes_days(period: Period) -> float:
    """The longest that a bucket can be open; the sessions of a date may begin the day before."""
    days, goes_by_dates = _length(period)
    return days + goes_by_dates


def _list(names: Iterable[str]) -> str:
    return " ".join(names) or "none"
