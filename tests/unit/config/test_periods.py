"""Which bars are made: what the settings say, what it needs, and what cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from barstream.config import Settings, load_settings
from barstream.config.periods import kept_days, periods_in_force
from barstream.errors import ConfigError
from barstream.model.period import DAY, Period


@pytest.fixture(autouse=True)
def _no_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings(*timeframes: str, env: dict[str, str] | None = None, **sections: Any) -> Settings:
    bars = {"timeframes": list(timeframes)} | sections.pop("bars", {})
    return load_settings(env=env or {}, overrides={"bars": bars, **sections})


def upper(*timeframes: str, **sections: Any) -> list[str]:
    return [str(period) for period in periods_in_force(settings(*timeframes, **sections)).upper]


def test_without_a_word_there_are_5m_15m_1h_and_1d() -> None:
    assert [str(period) for period in periods_in_force(Settings()).upper] == [
        "5m", "15m", "1h", "1d",
    ]  # fmt: skip


def test_periods_come_finest_first_however_they_are_written() -> None:
    """Whoever folds in this order finds the days folded when the weeks come."""
    found = upper("1mo", "1d", "24h+0h", "4wk+0wk", "2d+1d", "30m", "2wk+1wk", "1h", "120m")
    assert found == ["30m", "1h", "2h", "24h+0h", "1d", "2d+1d", "2wk+1wk", "4wk+0wk", "1mo"]


def test_1m_is_always_there_and_never_an_upper_period() -> None:
    assert upper("1m", "5m") == ["5m"]
    assert upper("1m@session") == upper("1m+0m") == []
    assert upper() == []


def test_days_have_one_grid_whatever_is_written() -> None:
    """Weeks are made from `DAY`; a day that is another value would be a second one."""
    assert periods_in_force(settings("1d+0d", "1wk")).upper[0] == DAY


@pytest.mark.parametrize("coarse", ["1wk", "1mo", "3d+0d"])
def test_what_is_made_of_days_brings_days_along_and_says_so(coarse: str) -> None:
    periods = periods_in_force(settings("5m", coarse))
    assert [str(period) for period in periods.upper] == ["5m", "1d", coarse]
    assert periods.added == (DAY,)
    assert periods_in_force(settings("1d", coarse)).added == ()
    assert periods_in_force(settings("5m")).added == ()


def test_the_environment_gives_a_list_as_one_text() -> None:
    env = {"BARSTREAM_BARS__TIMEFRAMES": "5m, 4h,1wk", "BARSTREAM_BARS__LIVE_TIMEFRAMES": "4h"}
    periods = periods_in_force(load_settings(env=env))
    assert [str(period) for period in periods.upper] == ["5m", "4h", "1d", "1wk"]
    assert periods.live == (Period.hours(4),)
    assert periods_in_force(load_settings(env={"BARSTREAM_BARS__TIMEFRAMES": "1m"})).upper == ()
    assert upper(bars={"timeframes": " "}) == []


def test_the_anchor_is_of_minutes_and_hours_that_state_no_grid() -> None:
    found = upper("5m", "7m", "4h+1h", "30m+0m", "1d", bars={"anchor": "session"})
    assert found == ["5m@session", "7m@session", "30m+0m", "4h+1h", "1d"]
    assert upper("1h@session", "5m") == ["5m", "1h@session"]


def test_the_anchor_is_also_of_the_timeframes_nobody_wrote_down() -> None:
    found = periods_in_force(load_settings(env={"BARSTREAM_BARS__ANCHOR": "session"})).upper
    assert [str(period) for period in found] == ["5m@session", "15m@session", "1h@session", "1d"]


@pytest.mark.parametrize(
    "twins", [("1h", "1h@session"), ("5m", "5m"), ("60m", "1h"), ("4h", "4h+1h")]
)
def test_two_periods_of_one_name_are_refused(twins: tuple[str, str]) -> None:
    """Both would be written to one topic under the same keys."""
    with pytest.raises(ConfigError, match="each timeframe once"):
        upper(*twins)


def test_sessions_cannot_be_anchored_to_where_there_are_none() -> None:
    with pytest.raises(ConfigError, match=r"1h@session .*bars\.schedule is false"):
        upper("1h@session", bars={"schedule": False})
    with pytest.raises(ConfigError, match="5m@session"):
        upper("5m", bars={"schedule": False, "anchor": "session"})
    assert upper("5m", bars={"schedule": False}) == ["5m"]


def test_open_bars_are_published_of_timeframes_in_force() -> None:
    bars = {"live_timeframes": ["60m", "1m"]}
    assert periods_in_force(settings("5m", "1h@session", bars=bars)).live == (
        Period.hours(1, anchor="session"),
    )
    with pytest.raises(ConfigError, match=r"in force \(5m\), found 1h"):
        upper("5m", bars=bars)


def test_bars_are_kept_by_timeframe() -> None:
    chosen = settings(
        "5m",
        "90m+0m",
        "4h",
        "1wk",
        topics={"retention_days": 40, "timeframe_retention_days": {"240m": 9}},
    )
    kept = {str(p): kept_days(chosen, p) for p in periods_in_force(chosen).upper}
    assert kept == {"5m": 40, "90m+0m": 40, "4h": 9, "1d": 3650, "1wk": 3650}
    assert kept_days(settings("2h", topics={"retention_days": 40}), Period.hours(2)) == 240
    assert kept_days(settings("1d", topics={"retention_days": 9000}), DAY) == 9000


def test_one_timeframe_in_two_spellings_is_refused() -> None:
    with pytest.raises(ValueError, match="one timeframe in two spellings: 1h, 60m"):
        Settings(topics={"timeframe_retention_days": {"60m": 9, "1h": 90}})  # type: ignore[arg-type]


def test_retention_of_a_timeframe_that_is_not_made_is_refused() -> None:
    """Most likely it is misspelt, and another one is deleted early."""
    with pytest.raises(ConfigError, match=r"in force \(5m\), found 4h"):
        upper("5m", topics={"timeframe_retention_days": {"4h": 9}})


@pytest.mark.parametrize(
    ("period", "source", "days", "enough"),
    [
        ("1wk", "1d", 7, 8),
        ("1mo", "1d", 31, 32),
        ("2wk+0wk", "1d", 14, 15),
        ("1d", "1m", 1, 2),
        ("12h", "1m", 0.49, 0.5),
    ],
)
def test_what_a_bar_is_made_of_is_kept_until_the_bar_is_made(
    period: str, source: str, days: float, enough: float
) -> None:
    """A fold of what is left would be a wrong bar that looks like any other."""

    def topics(kept: float) -> dict[str, Any]:
        if source == "1m":
            return {"retention_days": kept}
        return {"timeframe_retention_days": {source: kept}}

    with pytest.raises(ConfigError, match=f"bars of {source} must be kept at least {enough:g} "):
        upper(period, topics=topics(days))
    assert period in upper(period, topics=topics(enough))
