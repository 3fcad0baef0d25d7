"""Late ticks under the policy `revise`, through Kafka and a worker that is killed on the way."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest

from barstream.codecs.avro.body import decode
from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick, send_ticks
from tests.pipeline import Pipeline, pipeline, until
from tests.replay.replays import replay

pytestmark = pytest.mark.kafka

DAY_US = 1440 * MINUTE_US
#: A Wednesday.
START_US = 20_052 * DAY_US
OPTIONS = {
    "BARS__SCHEDULE": "false",
    "BARS__LATE_POLICY": "revise",
    "BARS__TIMEFRAMES": "5m,1h,1d,1wk",
    "TOPICS__PARTITIONS": "1",
}


def in_time() -> list[Tick]:
    """A day and a half, a tick in most minutes, one of them far on so that all of it is closed."""
    rng = random.Random(3)
    found = [
        Tick("B", "X", START_US + minute * MINUTE_US + rng.randrange(MINUTE_US),
             100 + rng.random(), rng.choice([0.1, 0.3, 1.0]))
        for minute in range(2160)
        if rng.random() < 0.7
    ]  # fmt: skip
    return [*found, Tick("B", "X", found[-1].time_us + 30 * SECOND_US, 100.5, 0.1)]


def late(count: int, until_us: int) -> list[Tick]:
    """Ticks anywhere in what is closed, empty minutes among it, and one before the first."""
    rng = random.Random(4)
    span_us = until_us - START_US - 5 * MINUTE_US
    found = [
        Tick("B", "X", START_US + rng.randrange(span_us), 90 + 20 * rng.random(), 0.7)
        for _ in range(count)
    ]
    return [Tick("B", "X", START_US - 3 * MINUTE_US + 1, 95.0, 0.3), *found]


def newest(made: Pipeline, topic: str) -> dict[int, dict[str, Any]]:
    """The last record of each bucket."""
    records = [record.value for record in made.read(topic) if record.value]
    return {int(bar["bucket_start"]): bar for bar in (decode("bar", value) for value in records)}


def straight(ticks: list[Tick], offsets: list[int], size_us: int) -> dict[int, dict[str, Any]]:
    """Bars with ticks, straight from all ticks by event time, whenever they came."""
    buckets: dict[int, list[tuple[int, int, Tick]]] = {}
    for tick, offset in zip(ticks, offsets, strict=True):
        place = tick.time_us // size_us * size_us
        buckets.setdefault(place, []).append((tick.time_us, offset, tick))
    found: dict[int, dict[str, Any]] = {}
    for place, entries in buckets.items():
        entries.sort(key=lambda entry: entry[:2])
        inside = [tick for _, _, tick in entries]
        found[place] = {
            "open": inside[0].price, "close": inside[-1].price,
            "high": max(t.price for t in inside), "low": min(t.price for t in inside),
            "tick_count": len(inside), "open_time": inside[0].time_us,
            "close_time": inside[-1].time_us, "synthetic": False,
            "volume": math.fsum(t.size for t in inside),
            "turnover": math.fsum(t.price * t.size for t in inside),
        }  # fmt: skip
    return found


@pytest.mark.law("L10")
@pytest.mark.timeout(300)
def test_late_ticks_reach_every_bar_they_belong_to_also_over_a_kill(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # |=== a day and a half, closed ===|  then 400 late ticks, and kill -9 among them
    with pipeline(kafka.bootstrap, unique, tmp_path, **OPTIONS) as made:
        worker = made.worker()
        first = in_time()
        offsets = send_ticks(kafka.bootstrap, made.names.ticks, first)
        passed_us = first[-1].time_us - made.settings.bars.grace_us
        closed_us = passed_us - passed_us % MINUTE_US
        last_us = closed_us - MINUTE_US
        until(lambda: last_us in newest(made, made.names.final_1m), 60, "closed by the watermark")
        after = late(400, closed_us)
        offsets += send_ticks(kafka.bootstrap, made.names.ticks, after[:200])
        worker.kill()
        offsets += send_ticks(kafka.bootstrap, made.names.ticks, after[200:])
        again = made.worker(wait=False)
        ticks = first + after
        counted = sum(tick.time_us < closed_us for tick in ticks)

        def merged() -> bool:
            assert again.process.poll() is None, again.tail()
            bars = newest(made, made.names.final_1m).values()
            return sum(int(bar["tick_count"]) for bar in bars) >= counted

        until(merged, 90, "every late tick is in a bar")
        minutes = newest(made, made.names.final_1m)
        wanted = straight(ticks, offsets, MINUTE_US)
        for place, expected in wanted.items():
            if place < closed_us:
                found = {name: minutes[place][name] for name in expected}
                assert found == expected, place
        # gap-free from the tick before the first one on, flat ones at the close before them
        assert sorted(minutes) == list(range(min(minutes), closed_us, MINUTE_US))
        price = 0.0
        for place in sorted(minutes):
            bar = minutes[place]
            if bar["synthetic"]:
                assert (bar["open"], bar["close"], bar["volume"]) == (price, price, 0.0)
            price = bar["close"]
        by_merging = sum(bar["tick_count"] for bar in minutes.values()) - counted
        assert by_merging == 0, "a tick was counted twice"
        assert not made.rejected()
        # the live record of a bucket is its final, also after a revision
        assert newest(made, made.names.live_1m).items() >= minutes.items()

        topics = {period.timeframe: topic for period, topic in made.names.rollups.items()}
        for timeframe, size_us in (("5m", 5 * MINUTE_US), ("1h", 60 * MINUTE_US), ("1d", DAY_US)):
            uppers = newest(made, topics[timeframe])
            for place, expected in straight(ticks, offsets, size_us).items():
                if place + size_us > closed_us:
                    assert place not in uppers
                    continue
                upper = uppers[place]
                children = [minutes[m] for m in range(place, place + size_us, MINUTE_US)
                            if m in minutes]  # fmt: skip
                for name in ("volume", "turnover"):
                    expected[name] = math.fsum(bar[name] for bar in children)
                assert {name: upper[name] for name in expected} == expected, (timeframe, place)
                assert upper["revision"] >= sum(bar["revision"] for bar in children)
        assert any(bar["revision"] > 1 for bar in minutes.values()), "some bars took several"

        # the first versions say when bars were closed, and the late ticks merge as they did
        said = replay(made, "--suffix", "same")
        assert (said.code, said.differences) == (0, []), said.text
