"""Bars that the clock closes: quiet feeds, sessions that end, history beside them."""

from __future__ import annotations

import logging

import pytest

from barstream.codecs.avro.body import decode
from barstream.model.key import bar_key
from barstream.model.period import Period
from tests.functional.minutes import BROKER, Minutes
from tests.functional.recorded_ticks import TRUEFX, sessions_of
from tests.functional.tick_records import MINUTE_US, SECOND_US
from tests.offline import bars_of, differences

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

log = logging.getLogger(__name__)


def assert_final_in_time(lived: Minutes) -> None:
    delays = lived.delays_s()
    log.info("seconds after end and grace: %s", sorted(delays.values()))
    assert min(delays.values()) >= 0, "final before its minute and the grace were over"
    late = {place: delay for place, delay in delays.items() if delay > 1.0}
    assert not late


def test_a_bar_is_final_within_a_second_after_its_grace(
    minutes: Minutes,
) -> None:
    assert len(minutes.delays_s()) >= 8
    assert_final_in_time(minutes)


def test_a_series_without_a_further_tick_goes_on_in_synthetic_bars(minutes: Minutes) -> None:
    first = minutes.minute_us
    assert minutes.buckets("QUIET") == [first, first + MINUTE_US]
    bar, empty = minutes.final_of("QUIET", first), minutes.final_of("QUIET", first + MINUTE_US)
    assert (bar["open"], bar["high"], bar["low"], bar["close"]) == (7.5, 9.0, 7.5, 8.25)
    assert (bar["tick_count"], bar["synthetic"]) == (3, False)
    assert {empty[name] for name in ("open", "high", "low", "close")} == {8.25}
    assert (empty["tick_count"], empty["volume"], empty["synthetic"]) == (0, 0.0, True)


def test_the_last_minute_of_a_session_closes_and_nothing_follows(minutes: Minutes) -> None:
    first = minutes.minute_us
    assert minutes.buckets("ENDS") == [first]
    assert minutes.buckets("LATER") == [first, first + MINUTE_US]
    assert minutes.final_of("LATER", first + MINUTE_US)["synthetic"] is True


def test_a_session_that_ends_inside_a_minute_gates_exactly_and_closes(minutes: Minutes) -> None:
    assert minutes.inside_close_us % MINUTE_US
    first = minutes.minute_us
    assert minutes.buckets("INSIDE") == [first]
    bar = minutes.final_of("INSIDE", first)
    # the tick one microsecond before the close counts, the one at the close does not
    assert (bar["tick_count"], bar["close"]) == (2, 6.5)
    assert bar["close_time"] == minutes.inside_close_us - 1
    assert minutes.worker.get("/status")["rejected"] == {"off_session": 1}


@pytest.mark.parametrize("symbol", ["ENDS", "INSIDE", "LATER"])
def test_upper_bars_are_final_with_the_last_minute_of_the_session_and_not_at_their_nominal_end(
    minutes: Minutes, symbol: str
) -> None:
    # 1d   |-- m --] session ends   ............................| nominal end, hours away
    buckets = minutes.buckets(symbol)
    last_us = buckets[-1]
    due_us = last_us + MINUTE_US + minutes.grace_us
    for period in minutes.rollups:
        written_us, bar = minutes.upper(period, symbol)[-1]
        delay_s = (written_us - due_us) / SECOND_US
        assert 0 <= delay_s <= 1.0, f"{period}: {delay_s:g} s after end and grace"
        assert bar["bucket_start"] == period.floor(last_us)
        assert bar["revision"] == 0
    _, day = minutes.upper(Period.days(), symbol)[-1]
    assert day["tick_count"] == sum(minutes.final_of(symbol, at)["tick_count"] for at in buckets)
    # no final of a day that goes on
    going_on = Period.days().floor(minutes.minute_us + 2 * MINUTE_US)
    days = [bar["bucket_start"] for _, bar in minutes.upper(Period.days(), "STEADY")]
    assert going_on not in days


def test_a_steady_feed_loses_no_tick_at_the_minute(minutes: Minutes) -> None:
    sent = minutes.sent["STEADY"]
    for start in (minutes.minute_us, minutes.minute_us + MINUTE_US):
        mine = [tick for tick in sent if start <= tick.time_us < start + MINUTE_US]
        bar = minutes.final_of("STEADY", start)
        assert bar["tick_count"] == len(mine)
        assert bar["volume"] == float(len(mine))
        assert (bar["open"], bar["close"]) == (mine[0].price, mine[-1].price)
        assert bar["high"] == max(tick.price for tick in mine)
        assert bar["low"] == min(tick.price for tick in mine)
    assert minutes.made.rejected() == []


def test_history_loaded_meanwhile_is_closed_by_its_loader_alone(minutes: Minutes) -> None:
    ticks = TRUEFX.ticks(minutes.directory).with_row_index("offset")
    sessions = sessions_of(minutes.made, TRUEFX.broker, TRUEFX.symbol)
    expected = bars_of(ticks, [(row["open_us"], row["close_us"]) for row in sessions])
    bars = [decode("bar", r.value) for r in minutes.finals if r.value is not None]
    finals = [bar for bar in bars if bar["broker"] == TRUEFX.broker]

    # nothing between 2013 and now, and the last minute of the file is there
    assert differences(expected, finals) == []
    assert len(finals) == len(expected)
    by_source = {
        source: {
            (beat.broker, beat.symbol) for _, beat in minutes.heartbeats if beat.source == source
        }
        for source in ("planner", "loader")
    }
    assert by_source["loader"] == {(TRUEFX.broker, TRUEFX.symbol)}
    live = ("STEADY", "QUIET", "ENDS", "INSIDE", "LATER")
    assert by_source["planner"] == {(BROKER, symbol) for symbol in live}


def test_heartbeats_are_one_a_minute_and_series_in_session(minutes: Minutes) -> None:
    first = minutes.minute_us
    beats: dict[str, list[int]] = {}
    for record, beat in minutes.heartbeats:
        # a first tick within the grace of m's start passes m - 1, which had no price: that may beat
        if beat.source == "planner" and beat.bucket_start_us >= first:
            beats.setdefault(beat.symbol, []).append(beat.bucket_start_us)
            assert record.key == bar_key(beat.broker, beat.symbol, beat.bucket_start_us)
            assert record.timestamp_ms * 1000 >= beat.bucket_start_us + MINUTE_US + minutes.grace_us
    both = [first, first + MINUTE_US]
    assert beats == {
        "STEADY": both, "QUIET": both, "LATER": both, "ENDS": [first], "INSIDE": [first],
    }  # fmt: skip
