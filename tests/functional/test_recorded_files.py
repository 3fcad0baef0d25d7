"""Three files of real ticks, years old, through `ticks load`, real Kafka and a real worker."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import polars as pl
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from barstream.codecs.avro.body import decode
from barstream.model.period import Period
from barstream.model.time import days_from_iso_date
from tests.functional.recorded_ticks import (
    FILES,
    HISTDATA,
    MONTH,
    TRUEFX,
    Recorded,
    RecordedFile,
    inside,
)
from tests.functional.tick_records import MINUTE_US, now_us
from tests.offline import differences
from tests.offline_rollups import closed_buckets, minutes_of, rolled
from tests.offline_rollups import differences as upper_differences

pytestmark = pytest.mark.kafka

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.split("-")[0])


def published(recorded: Recorded, file: RecordedFile) -> list[dict[str, Any]]:
    bars = [decode("bar", record.value) for record in recorded.finals if record.value is not None]
    mine = [bar for bar in bars if (bar["broker"], bar["symbol"]) == (file.broker, file.symbol)]
    return sorted(mine, key=lambda bar: int(bar["bucket_start"]))


@each_file
def test_finals_equal_polars_field_by_field(recorded: Recorded, file: RecordedFile) -> None:
    assert differences(recorded.expected(file), published(recorded, file)) == []


@each_file
@pytest.mark.parametrize("timeframe", ["5m", "15m", "1h", "1d"])
def test_upper_finals_equal_polars_field_by_field(
    recorded: Recorded, file: RecordedFile, timeframe: str
) -> None:
    # first tick |----- minutes -----| last tick: what is complete by then is final, once
    topic = recorded.made.names.rollups[Period.parse(timeframe)]
    bars = [decode("bar", record.value) for record in recorded.made.read(topic) if record.value]
    mine = [bar for bar in bars if (bar["broker"], bar["symbol"]) == (file.broker, file.symbol)]
    ticks = inside(recorded.ticks(file), recorded.sessions(file))
    every = minutes_of(
        (days_from_iso_date(row["trading_date"]), row["session"], row["open_us"], row["close_us"])
        for row in recorded.sessions(file)
    )
    first, last = (int(ticks["time_us"][at]) // MINUTE_US * MINUTE_US for at in (0, -1))
    expected = rolled(ticks, every.filter(pl.col("minute").is_between(first, last)), timeframe)
    over = closed_buckets(every, timeframe, last + MINUTE_US)

    complete = expected.filter(pl.col("bucket_start").is_in(over))
    assert upper_differences(complete, mine) == []
    assert len(mine) == len(complete)
    assert not any(bar["revision"] for bar in mine)


@each_file
def test_every_in_session_minute_after_the_first_price_has_exactly_one_final(
    recorded: Recorded, file: RecordedFile
) -> None:
    ticks = inside(recorded.ticks(file), recorded.sessions(file))
    first, last = int(ticks["time_us"][0]), int(ticks["time_us"][-1])
    minutes: list[int] = []
    for row in recorded.sessions(file):
        start = row["open_us"] // MINUTE_US * MINUTE_US
        minutes += range(start, -(-row["close_us"] // MINUTE_US) * MINUTE_US, MINUTE_US)
    wanted = [m for m in minutes if first // MINUTE_US * MINUTE_US <= m <= last]
    finals = published(recorded, file)

    assert [bar["bucket_start"] for bar in finals] == wanted
    with_ticks = set((ticks["time_us"] // MINUTE_US * MINUTE_US).to_list())
    assert {b["bucket_start"] for b in finals if not b["synthetic"]} == with_ticks


def test_the_files_are_what_they_are_said_to_be(recorded: Recorded) -> None:
    # 28,761 minute bars, weekends without any, thousands of empty minutes filled
    month = published(recorded, MONTH)
    assert sum(not bar["synthetic"] for bar in month) == 28_761
    weekend = [b for b in month if b["bucket_start"] // (1440 * MINUTE_US) % 7 == 2]
    assert weekend == []
    assert [recorded.said[file.name]["ticks"] for file in (TRUEFX, HISTDATA, MONTH)] == [
        1_000, 9_500, 115_044,
    ]  # fmt: skip
    empty = {
        file: sum(bar["synthetic"] for bar in published(recorded, file))
        for file in (TRUEFX, HISTDATA, MONTH)
    }
    assert empty[TRUEFX] > 0
    assert empty[HISTDATA] == 0, "361 minutes, each with a quote"
    assert empty[MONTH] > 0


@each_file
def test_bars_carry_the_trading_date_and_session_of_the_schedule(
    recorded: Recorded, file: RecordedFile
) -> None:
    owner = {
        minute: (days_from_iso_date(row["trading_date"]), row["session"])
        for row in recorded.sessions(file)
        for minute in range(row["open_us"], row["close_us"], MINUTE_US)
    }
    for bar in published(recorded, file):
        found = bar["trading_date"], bar["session"], bar["revision"]
        assert found == (*owner[bar["bucket_start"]], 0)


@each_file
def test_bars_name_the_offsets_of_their_ticks(recorded: Recorded, file: RecordedFile) -> None:
    ticks = inside(recorded.ticks(file), recorded.sessions(file))
    by_minute = ticks.group_by(pl.col("time_us") // MINUTE_US * MINUTE_US).agg(
        first=pl.col("offset").min(), last=pl.col("offset").max()
    )
    wanted = {row[0]: (row[1], row[2]) for row in by_minute.iter_rows()}
    closed_at = 0
    for bar in published(recorded, file):
        lineage = bar["first_offset"], bar["last_offset"]
        assert lineage == wanted.get(bar["bucket_start"], (None, None))
        # what closes later closes no earlier in the log, and never before its own ticks
        assert bar["close_offset"] >= closed_at
        closed_at = bar["close_offset"]
        assert closed_at > (bar["last_offset"] or -1)


def test_no_tick_of_a_file_years_old_is_called_late(recorded: Recorded) -> None:
    off_session = sum(
        len(recorded.ticks(file)) - len(inside(recorded.ticks(file), recorded.sessions(file)))
        for file in FILES
    )
    status = recorded.worker.get("/status")

    assert Counter(status["rejected"]) == Counter({"off_session": off_session})
    assert recorded.made.rejected() == []
    assert status["ticks"] == sum(said["ticks"] for said in recorded.said.values()) - off_session


def test_records_are_stamped_by_the_broker_so_age_does_not_delete_them(
    recorded: Recorded,
) -> None:
    made = recorded.made
    names = made.names
    for topic in (names.ticks, names.heartbeats, names.final_1m, names.live_1m):
        stamps = [record.timestamp_ms * 1000 for record in made.read(topic)]
        assert recorded.began_us - MINUTE_US <= min(stamps)
        assert max(stamps) <= now_us() + MINUTE_US
        kind, beginnings = asyncio.run(_stamped_and_kept(made.bootstrap, topic))
        assert kind == "LogAppendTime"
        assert set(beginnings) == {0}


async def _stamped_and_kept(bootstrap: str, topic: str) -> tuple[str, list[int]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        wanted = ConfigResource(ConfigResourceType.TOPIC, topic)
        answers = await admin.describe_configs([wanted])
        config = {entry[0]: entry[1] for entry in answers[0].resources[0][4]}
    finally:
        await admin.close()
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        await consumer._client.set_topics([topic])
        places = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
        found = await consumer.beginning_offsets(places)
    return config["message.timestamp.type"], list(found.values())


def test_every_file_is_shown_as_history_closed_to_its_end(recorded: Recorded) -> None:
    rows = {(r["broker"], r["symbol"]): r for r in recorded.worker.get("/series")["series"]}
    for file in FILES:
        row = rows[file.broker, file.symbol]
        last = published(recorded, file)[-1]
        assert row["kind"] == "historical"
        assert row["previous_close"] == last["close"]
