"""A user's own declaration: found by name, and a layer of the settings like any other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from barstream.config import Settings, load_settings
from barstream.config.periods import periods_in_force
from barstream.errors import ConfigError
from barstream.kafka.topics import TopicNames
from barstream.pipeline import DEFAULT, QueryError
from barstream.pipeline.load import load_query

MINE = """\
from dataclasses import replace
from barstream.pipeline import DEFAULT, MarketSchedule, Period, Query, Tick

MORE = DEFAULT.tumbling(Period.hours(4))
CRYPTO = (
    Query(source=replace(Tick, topic="trades"), time="time")
    .tumbling(Period.minutes(1), Period.minutes(5), grace_s=1.5)
    .into(DEFAULT.target, base="coin")
)
STOCKS = (
    Query()
    .based_on(
        replace(MarketSchedule, topic="calendar"),
        join=("broker", "symbol"), opens="open", closes="close", day="trading_date",
    )
    .tumbling(Period.minutes(5))
)
NOTHING = Query()
NO_QUERY = "5m"
BAD_BASE = MORE.into(DEFAULT.target, base="a b")
"""


@pytest.fixture
def module(tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module beside a settings file; removed again, it was imported."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    name = f"bars_{unique}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MINE)
    yield name
    sys.modules.pop(name, None)


def settings(name: str, **env: str) -> Settings:
    return load_settings(env={"BARSTREAM_PIPELINE": name, **env})


def test_without_a_name_it_is_the_one_that_comes_with_us() -> None:
    assert load_query(None) is DEFAULT


def test_a_timeframe_more_is_one_line_and_no_other_edit(module: str) -> None:
    mine = settings(f"{module}:MORE")

    assert [str(period) for period in periods_in_force(mine).upper] == [
        "5m", "15m", "1h", "4h", "1d",
    ]  # fmt: skip
    assert "rate_4h_final" in TopicNames.of(mine).by_logical()


def test_what_is_declared_wins_over_defaults_and_shows_where_it_comes_from(module: str) -> None:
    mine = settings(f"{module}:CRYPTO")

    assert mine.bars.grace_us == mine.bars.max_future_skew_us == 1_500_000
    assert not mine.bars.schedule
    assert TopicNames.of(mine).ticks == "trades"
    assert TopicNames.of(mine).market_schedule == "market_schedule"
    assert TopicNames.of(mine).final_1m == "coin_1m_final"
    assert mine.sources["bars.grace_s"] == f"pipeline {module}:CRYPTO"
    assert mine.sources["bars.timeframes"] == f"pipeline {module}:CRYPTO"
    assert mine.sources["bars.live_interval_ms"] == "default"
    assert mine.sources["pipeline"] == "environment BARSTREAM_PIPELINE"
    assert TopicNames.of(settings(f"{module}:STOCKS")).market_schedule == "calendar"
    assert settings(f"{module}:STOCKS").bars.schedule


def test_what_is_set_wins_over_what_is_declared(module: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"pipeline = '{module}:CRYPTO'\n[bars]\nschedule = true\ngrace_s = 5\n")

    mine = load_settings(
        file, env={"BARSTREAM_BARS__TIMEFRAMES": "2h", "BARSTREAM_TOPICS__BASE": "rate"}
    )

    assert mine.bars.schedule
    assert mine.bars.grace_s == 5
    assert mine.bars.timeframes == ("2h",)
    assert TopicNames.of(mine).final_1m == "rate_1m_final"
    assert mine.sources["bars.grace_s"] == str(file)


def test_the_module_is_looked_for_beside_the_settings_file(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service is started from anywhere; its declaration lies with its settings."""
    file = tmp_path / "mine.toml"
    file.write_text(f"pipeline = '{module}:MORE'\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    assert "4h" in load_settings(file, env={}).bars.timeframes


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("{module}:NOTHING", "no tumbling window"),
        (
            "{module}:NO_QUERY",
            r"found NO_QUERY = '5m'; the queries of .* DEFAULT, MORE, CRYPTO, STOCKS",
        ),
        ("{module}:ABSENT", "found ABSENT = None"),
        ("no_such_module_of_ours:X", "needs the module no_such_module_of_ours, which is not"),
        ("{module}:BAD_BASE", r"topics\.base = 'a b', from pipeline .*:BAD_BASE: must be a Kafka"),
        ("bars", r"pipeline = 'bars'.*must be module:NAME"),
        ("bars.py:X Y", "must be module:NAME"),
    ],
)
def test_a_declaration_that_cannot_be_used_is_refused(module: str, target: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings(target.format(module=module))


def test_a_mistake_in_the_declaration_is_told_with_its_place(module: str, tmp_path: Path) -> None:
    (tmp_path / f"{module}.py").write_text(
        "from barstream.pipeline import *\nMINE = DEFAULT.tumbling(Period.hours(1))\n"
    )
    with pytest.raises(QueryError, match=f"{module}:MINE cannot be used: each timeframe"):
        settings(f"{module}:MINE")
    (tmp_path / f"{module}.py").write_text("MINE = 1 / 0\n# another length\n")
    with pytest.raises(QueryError, match="ZeroDivisionError"):
        settings(f"{module}:MINE")
