"""A worker says what has changed, once; and nothing when nothing has."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from barstream.config import load_settings
from barstream.planner import plan_of
from barstream.runtime.lifecycle import Held, Lifecycle, Seen, ranges, say_start

STARTING = Seen(("the market schedule is being read", "partitions are being assigned"))
READY = Seen((), None, Held(frozenset(range(4)), count=4, leader=True), 120, 6, 1)


class Watched:
    """A lifecycle whose clock is set, and what it said."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.now_s = 50.0
        self._caplog = caplog
        self.lifecycle = Lifecycle(lambda: self.now_s)

    def look(self, seen: Seen, after_s: float = 0.25) -> list[str]:
        """What a look brings."""
        self.now_s += after_s
        self._caplog.clear()
        self.lifecycle.look(seen)
        return [record.getMessage() for record in self._caplog.records]


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Watched:
    caplog.set_level(logging.INFO)
    return Watched(caplog)


def said_at_start(caplog: pytest.LogCaptureFixture, **env: str) -> list[str]:
    caplog.set_level(logging.INFO)
    caplog.clear()
    settings = load_settings(env={f"BARSTREAM_{name}": value for name, value in env.items()})
    say_start(plan_of(settings), "http://127.0.0.1:6066/")
    return [record.getMessage() for record in caplog.records]


def test_the_start_says_what_runs_where(caplog: pytest.LogCaptureFixture) -> None:
    said = said_at_start(caplog, APP_ID="fx", BOOTSTRAP="k1:9092,k2:9092", BARS__GRACE_S="2.5")
    assert said[0].startswith("barstream ")
    assert " app_id=fx data_dir=barstream-data pid=" in said[0]
    assert said[1:] == [
        "brokers: k1:9092,k2:9092 security_protocol=PLAINTEXT",
        "bars: 1m 5m 15m 1h 1d, final after a grace of 2.5 s, late ticks are rejected",
        "page: http://127.0.0.1:6066/",
    ]


def test_the_start_says_when_there_is_no_schedule_and_when_ticks_are_revised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    said = said_at_start(
        caplog, BARS__SCHEDULE="false", BARS__LATE_POLICY="revise", HEARTBEATS__ENABLED="false"
    )
    assert "by ticks alone (no heartbeats)" in said[2]
    assert said[2].endswith("late ticks revise them")
    assert said[3] == "schedule: none, every series trades 24x7 in UTC"


def test_a_worker_that_becomes_ready_says_what_it_has(watched: Watched) -> None:
    assert watched.look(STARTING) == []
    restored = replace(READY, held=replace(READY.held, rows=81_204, seconds=1.23))  # type: ignore[type-var]
    assert watched.look(restored, 2) == [
        "schedule: 120 sessions of 6 series",
        "partitions: 0-3 taken, 81,204 rows restored in 1.2 s, of 4 on 1 worker",
        "leader: this worker sends the heartbeats now",
        "ready after 2.2 s",
    ]
    assert watched.look(restored) == []


def test_a_worker_that_is_not_ready_any_more_says_why_and_when_it_is_again(
    watched: Watched,
) -> None:
    watched.look(READY)
    silent = replace(READY, reasons=("the coordinator was silent", "tables are restored"))
    assert watched.look(silent) == []
    assert watched.look(silent, 5) == ["not ready: the coordinator was silent; tables are restored"]
    assert watched.look(replace(READY, reasons=("something else",)), 3) == []
    assert watched.look(READY, 4) == ["ready again after 12 s"]
    assert watched.look(READY) == []


def test_a_rebalance_that_goes_through_is_no_trouble(watched: Watched) -> None:
    watched.look(READY)
    assigned = replace(READY, reasons=("partitions are being assigned",), held=None)
    for _ in range(3):
        assert watched.look(assigned) == []
        assert watched.look(assigned, 4.9) == []
        assert watched.look(READY) == []


def test_a_worker_that_stays_unready_says_so_more_and_more_seldom(watched: Watched) -> None:
    waiting = replace(STARTING, percent=41.7)
    said = [(at, each) for at in range(600) for each in watched.look(waiting, 1)]
    assert [at + 1 for at, _ in said] == [60, 120, 240, 480]
    assert said[0][1].startswith("not ready for 60 s: the market schedule is being read;")
    assert said[0][1].endswith("(42 % done)")


def test_a_rebalance_that_changes_something_is_one_line(watched: Watched) -> None:
    watched.look(READY)
    two = Held(frozenset({2, 3}), count=4, workers=2)
    assert watched.look(replace(READY, held=None)) == []
    assert watched.look(replace(READY, held=two)) == [
        "partitions: 0-1 given up, 2-3 held, of 4 on 2 workers",
        "leader: this worker sends no heartbeats any more, another one does",
    ]
    more = replace(two, partitions=frozenset({0, 2, 3}), rows=12, seconds=0.3)
    assert watched.look(replace(READY, held=more)) == [
        "partitions: 0 taken, 0 2-3 held, 12 rows restored in 0.3 s, of 4 on 2 workers"
    ]
    third = replace(more, workers=3, standbys=frozenset({1}))
    assert watched.look(replace(READY, held=third)) == [
        "partitions: 0 2-3 held as before, of 4 on 3 workers",
        "standby: a warm copy is kept of partitions 1",
    ]
    assert watched.look(replace(READY, held=third)) == []


def test_a_schedule_that_is_being_loaded_is_told_when_it_is_loaded(watched: Watched) -> None:
    watched.look(READY)
    for version in range(2, 40):
        assert watched.look(replace(READY, sessions=120 + version, version=version), 0.5) == []
    loaded = replace(READY, sessions=159, series=7, version=39)
    assert watched.look(loaded, 2) == [
        "schedule changed: 159 sessions of 7 series, before 120 sessions of 6 series"
    ]
    assert watched.look(loaded, 60) == []


def test_series_without_a_schedule_are_told_once_with_the_command(watched: Watched) -> None:
    def seen(*symbols: str) -> Seen:
        return replace(READY, unscheduled=tuple(("FX", symbol) for symbol in symbols))

    watched.look(READY)
    assert watched.look(seen("EURUSD")) == []
    (said,) = watched.look(seen("EURUSD", "USD JPY"), 2)
    assert said.startswith("ticks of 2 series come and make no bar")
    assert "(FX EURUSD, FX USD JPY)" in said
    assert "--broker FX --symbol EURUSD --symbol 'USD JPY'" in said
    assert watched.look(seen("EURUSD", "USD JPY"), 3_600) == []
    many = tuple(f"S{number:03}" for number in range(300))
    watched.look(seen(*many))
    (said,) = watched.look(seen(*many), 2)
    assert "300 series" in said
    assert len(said) < 500
    assert watched.look(seen("LATER"), 10) == [], "not more often than every ten minutes"


def test_nothing_is_said_of_a_worker_that_stops(watched: Watched) -> None:
    watched.look(READY)
    watched.lifecycle.end()
    assert watched.look(replace(STARTING, held=Held())) == []


@pytest.mark.parametrize(
    ("numbers", "text"),
    [((), "none"), ((3,), "3"), ((0, 1, 2, 3), "0-3"), ((7, 0, 1, 4), "0-1 4 7")],
)
def test_numbers_are_shown_as_ranges(numbers: Any, text: str) -> None:
    assert ranges(numbers) == text
