"""A bar that was tampered with shows, and a switch-over mends it, for workers as well."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from aiokafka import AIOKafkaProducer

from barstream.codecs.avro.body import encode_batch
from barstream.codecs.topics.bar import decode_bar
from barstream.model.bar import Bar
from barstream.model.key import bar_key, split_bar_key
from barstream.model.period import Period
from barstream.model.time import MINUTE_US, iso_from_us
from barstream.runtime.flush import bar_rows
from tests.chaos.drill import ALWAYS_OPEN, assert_all_came_out
from tests.chaos.feed import BROKER, Feed
from tests.pipeline import ROOT, Pipeline, WorkerProcess, pipeline, until
from tests.replay.replays import Values, finals, newest, replay

pytestmark = pytest.mark.kafka


@pytest.fixture
def made(kafka: Any, unique: str, tmp_path: Path) -> Iterator[Pipeline]:
    """A short history, all of it published and right; its worker runs."""
    options = ALWAYS_OPEN | {"TOPICS__PARTITIONS": "2", "BARS__TIMEFRAMES": "2m,5m"}
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as pipe:
        feed = Feed(pipe, 11, rate=2000, speed=150.0, series=4)
        pipe.worker()
        feed.start()
        until(lambda: feed.sent > 14_000, 60, "ticks")
        feed.finish()
        assert_all_came_out(pipe)
        yield pipe


Topics = dict[str, Values]


def standing(made: Pipeline) -> Topics:
    """Everything published, newest versions."""
    return {topic: newest(made, topic) for topic in (*finals(made), made.names.live_1m)}


def partition_of(made: Pipeline, key: bytes) -> int:
    found = {r.partition for r in made.read(made.names.final_1m) if r.key == key}
    assert len(found) == 1
    return found.pop()


async def _write(
    made: Pipeline, topic: str, partition: int, rows: Values | dict[bytes, None]
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=made.bootstrap) as producer:
        for key, value in rows.items():
            await producer.send_and_wait(topic, value, key=key, partition=partition)


def write(made: Pipeline, topic: str, partition: int, bars: list[Bar], gone: list[bytes]) -> None:
    values: Any = {row.key: row.value for row in bar_rows(bars)} | dict.fromkeys(gone)
    asyncio.run(_write(made, topic, partition, values))


def tampered(made: Pipeline, symbol: str) -> set[tuple[str, bytes]]:
    """Change a minute and an upper bar, take a minute away, invent another one; which they are."""
    minutes, upper = made.names.final_1m, made.names.rollups[Period.minutes(5)]
    bars = sorted(
        (decode_bar(value) for key, value in newest(made, minutes).items()
         if split_bar_key(key)[1] == symbol),
        key=lambda bar: bar.bucket_start_us,
    )  # fmt: skip
    partition = partition_of(made, bar_key(BROKER, symbol, bars[0].bucket_start_us))
    changed = bars[4].replace(high=bars[4].high + 1, close=bars[4].close + 1)
    invented = bars[0].replace(bucket_start_us=bars[0].bucket_start_us - MINUTE_US)
    lost = bar_key(BROKER, symbol, bars[9].bucket_start_us)
    write(made, minutes, partition, [changed, invented], [lost])
    five = next(
        decode_bar(value) for key, value in newest(made, upper).items()
        if split_bar_key(key)[1] == symbol
    )  # fmt: skip
    write(made, upper, partition, [five.replace(volume=five.volume + 1)], [])
    key = bar_key(BROKER, symbol, five.bucket_start_us)
    here = [bar_key(BROKER, symbol, bar.bucket_start_us) for bar in (changed, invented)]
    return {(upper, key), *((minutes, key) for key in (*here, lost))}


def without_revisions(topics: Topics) -> dict[str, dict[bytes, Bar]]:
    return {
        topic: {key: decode_bar(value).replace(revision=0) for key, value in values.items()}
        for topic, values in topics.items()
    }


def served(worker: WorkerProcess, symbol: str, timeframe: str) -> dict[str, float]:
    """Close by bucket start, as a worker answers."""
    query = urlencode({"timeframe": timeframe, "from": "2024-01-01T00:00:00Z", "limit": 5000})
    body = worker.get(f"/bars/{BROKER}/{symbol}?{query}")
    return {bar["bucket_start"]: bar["close"] for bar in body["bars"] if bar["status"] == "final"}


def closes(values: Values, symbol: str) -> dict[str, float]:
    bars = [decode_bar(value) for value in values.values()]
    return {iso_from_us(bar.bucket_start_us): bar.close for bar in bars if bar.symbol == symbol}


def test_a_tampered_bar_shows_and_a_switch_over_mends_it(made: Pipeline, tmp_path: Path) -> None:
    right = standing(made)
    before = {topic: len(made.read(topic)) for topic in right}
    worker = made.workers[-1]
    wrong = tampered(made, "S00")

    before_switch = made.run("verify", "--json", check=False)
    assert '"field": "high"' in before_switch, "and it was not before"
    said = replay(made, "--suffix", "mend")
    assert said.code == 1, said.text
    names = {made.names.finals(Period.parse(each["timeframe"])): each for each in said.differences}
    assert set(names) == {topic for topic, _ in wrong}
    found = {
        (made.names.finals(Period.parse(each["timeframe"])), each["bucket_start"], each["kind"])
        for each in said.differences
    }
    assert {(topic, bucket) for topic, bucket, _ in found} == {
        (topic, iso_from_us(split_bar_key(key)[2])) for topic, key in wrong
    }
    assert sorted(kind for _, _, kind in found) == [
        "different", "different", "only_published", "only_replayed",
    ]  # fmt: skip

    # production state lives in the workers: nothing is changed beneath them
    refused = replay(made, "switch", "--suffix", "mend", "--yes")
    assert (refused.code, refused.lines) == (2, [])
    assert "no worker of" in refused.text
    assert worker.ready, "and none was fenced"
    assert worker.stop() == 0

    # nothing is written that was not asked for
    told = replay(made, "switch", "--suffix", "mend")
    assert told.code == 0, told.text
    assert sum(line["written"] for line in told.lines) >= 3
    after = {topic: len(made.read(topic)) for topic in right}
    assert sum(after.values()) - sum(before.values()) == len(wrong)

    done = replay(made, "switch", "--suffix", "mend", "--yes")
    assert done.code == 0, done.text
    assert [line["written"] for line in done.lines] == [line["written"] for line in told.lines]
    mended = standing(made)
    assert without_revisions(mended) == without_revisions(right)
    again = replay(made, "diff", "--suffix", "mend")
    assert (again.code, again.differences) == (0, []), again.text

    # By another reckoning, straight from the ticks, what stands is right again; that other values
    # stood there under the same revision is in the log for as long as compaction leaves it.
    text = made.run("verify", "--json")
    left = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert [each["type"] for each in left].count("summary") == 1, text
    kinds = {(each["type"], each["rule"]) for each in left if "rule" in each}
    assert kinds == {("superseded", "duplicate")}, text

    for keep in (True, False):
        if not keep:
            shutil.rmtree(tmp_path / "w0")
        worker = made.worker()
        for timeframe, topic in (("1m", made.names.final_1m), *_upper(made)):
            assert served(worker, "S00", timeframe) == closes(right[topic], "S00"), keep
        assert worker.stop() == 0
    assert standing(made) == mended, "workers that start again publish nothing else"


def _upper(made: Pipeline) -> list[tuple[str, str]]:
    return [(period.timeframe, topic) for period, topic in made.names.rollups.items()]


def test_a_switch_over_that_was_killed_is_done_again(made: Pipeline) -> None:
    right = standing(made)
    made.workers[-1].stop()
    symbols = {partition_of(made, key): split_bar_key(key)[1] for key in right[made.names.final_1m]}
    assert set(symbols) == {0, 1}
    for symbol in symbols.values():
        tampered(made, symbol)
    assert replay(made, "--suffix", "mend").code == 1

    process = subprocess.Popen(
        [sys.executable, "-m", "barstream", "replay", "switch", "--suffix", "mend", "--yes"],
        cwd=ROOT, env=made.env, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().startswith("partition 0: ")
    process.send_signal(signal.SIGKILL)
    process.wait(20)

    left = replay(made, "diff", "--suffix", "mend")
    # one transaction a partition: none of them half done
    assert {each["partition"] for each in left.differences} <= {1}
    assert len(left.differences) in (0, 4)
    assert replay(made, "switch", "--suffix", "mend", "--yes").code == 0
    assert replay(made, "diff", "--suffix", "mend").code == 0
    assert without_revisions(standing(made)) == without_revisions(right)


async def _send(made: Pipeline, ticks: list[tuple[int, float]]) -> None:
    """Ticks of one series in this order: event time in seconds after 10:00, and price."""
    async with AIOKafkaProducer(bootstrap_servers=made.bootstrap) as producer:
        columns = {
            "broker": ["B"] * len(ticks), "symbol": ["S"] * len(ticks),
            "time": [1_709_546_400_000_000 + seconds * 1_000_000 for seconds, _ in ticks],
            "price": [price for _, price in ticks], "size": [1.0] * len(ticks),
        }  # fmt: skip
        for value in encode_batch("tick", columns):
            await producer.send_and_wait(made.names.ticks, value, partition=0)


def test_an_upper_bar_is_folded_anew_also_of_minutes_before_the_first_that_was_published(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # ticks in order   10:08:30   10:09:10   10:07:20   10:12:00
    # grace 5 s        first      closes 08  late       closes 09, 10 and the five minutes
    # grace 90 s       first                 in 07      closes 07, 08, 09 and the five minutes
    options = ALWAYS_OPEN | {"TOPICS__PARTITIONS": "1", "BARS__TIMEFRAMES": "5m"}
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        worker = made.worker()
        asyncio.run(_send(made, [(510, 8.0), (550, 9.0), (440, 7.0), (720, 12.0)]))
        (five,) = made.names.rollups.values()
        until(lambda: len(newest(made, five)) > 0, 60, "the five minutes")
        assert worker.stop() == 0

        assert replay(made, "--suffix", "more", "--grace", "90").code == 1
        assert replay(made, "switch", "--suffix", "more", "--yes").code == 0
        again = replay(made, "diff", "--suffix", "more")
        assert (again.code, again.differences) == (0, []), again.text
        bars = [decode_bar(value) for value in newest(made, five).values()]
        assert [(bar.open, bar.close, bar.tick_count) for bar in bars] == [(7.0, 9.0, 3)]

        # what was right before is listed apart, under the rules that stand now
        made.options["BARS__GRACE_S"] = "90"
        text = made.run("verify", "--grace", "5", "--json")
        found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        kinds = {(each["type"], each["rule"], each["detail"]) for each in found if "rule" in each}
        assert kinds == {
            (
                "superseded",
                "rejected",
                "tick 2 was rejected as late, and its bar, written later, took it in",
            )
        }
        why = made.run("explain", "B", "S", "2024-03-04T10:07:00Z")
        assert "final, made of 1 tick" in why
        assert "1 tick rejected as late when it became final" in why, why
        whole = made.run("explain", "B", "S", "2024-03-04T10:05:00Z", "--timeframe", "5m")
        assert "3 1m, 3 expected" in whole, whole
