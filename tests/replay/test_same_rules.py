"""A replay by the same rules gives what is published, byte for byte, and touches nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from barstream.codecs.avro.body import decode
from barstream.model.key import split_bar_key
from barstream.model.time import iso_from_us
from tests.pipeline import Pipeline
from tests.replay.replays import content, finals, newest, rejections, replay, shadows

pytestmark = pytest.mark.kafka


@pytest.mark.law("L23")
def test_a_replay_gives_the_published_bytes(lived: Pipeline) -> None:
    # whatever the worker lagged by when it took a heartbeat: its bars say where they were closed
    said = replay(lived, "--suffix", "same")

    assert (said.code, said.differences) == (0, []), said.text
    shadow = shadows(lived, "same")
    for topic in finals(lived):
        published = newest(lived, topic)
        assert len(published) > 0, topic
        assert newest(lived, shadow[topic]) == published, topic
    names = lived.names
    live = newest(lived, shadow[names.live_1m])
    assert newest(lived, names.final_1m).items() <= live.items()
    rejected = rejections(lived, names.ticks_rejected)
    assert rejected
    assert rejections(lived, shadow[names.ticks_rejected]) == rejected


def test_two_replays_write_the_same_bytes_in_the_same_order(lived: Pipeline) -> None:
    said = [replay(lived, "--suffix", "one"), replay(lived, "--suffix", "two", "--processes", "1")]
    assert [each.code for each in said] == [0, 0], said

    first, second = shadows(lived, "one"), shadows(lived, "two")
    for topic in first:
        assert content(lived, first[topic]) == content(lived, second[topic]), topic


def minutes_of(made: Pipeline) -> list[int]:
    """Bucket starts of the busiest series, ascending."""
    keys = [split_bar_key(key) for key in newest(made, made.names.final_1m)]
    return sorted(bucket_us for _, symbol, bucket_us in keys if symbol == "S00")


def test_an_inner_range_equals_the_published_slice(lived: Pipeline) -> None:
    # ticks     | . . . from . . . . . . to . . . |
    # minutes           |===============|
    # 15m           |.......|=======|=======.|          begun before `from`: partly replayed
    minutes = minutes_of(lived)
    from_us, to_us = minutes[7], minutes[-8]
    said = replay(
        lived, "--suffix", "inner", "--from", iso_from_us(from_us), "--to", iso_from_us(to_us)
    )
    assert (said.code, said.differences) == (0, []), said.text

    shadow, names = shadows(lived, "inner"), lived.names
    published = newest(lived, names.final_1m)
    wanted = {k: v for k, v in published.items() if from_us <= split_bar_key(k)[2] < to_us}
    assert len(wanted) > 30
    assert newest(lived, shadow[names.final_1m]) == wanted
    for period, topic in names.rollups.items():
        bars = newest(lived, topic)
        inside = {
            key: value
            for key, value in bars.items()
            if from_us < split_bar_key(key)[2] + period.size_us and split_bar_key(key)[2] < to_us
        }
        assert newest(lived, shadow[topic]) == inside, period


def test_a_range_of_offsets_begins_and_ends_with_whole_buckets(lived: Pipeline) -> None:
    # a bar belongs to it when all its ticks lie at or after the first offset, and it was closed
    # before the last
    end = max(
        decode("bar", value)["close_offset"]
        for value in newest(lived, lived.names.final_1m).values()
    )
    begin, stop = end // 3, end * 2 // 3
    said = replay(
        lived, "--suffix", "offsets", "--partition", "0",
        "--from-offset", str(begin), "--to-offset", str(stop),
    )  # fmt: skip
    assert (said.code, said.differences) == (0, []), said.text

    bars = [
        decode("bar", v)
        for v in newest(lived, shadows(lived, "offsets")[lived.names.final_1m]).values()
    ]
    published = [
        decode("bar", record.value)
        for record in lived.read(lived.names.final_1m)
        if record.value and record.partition == 0
    ]
    assert bars
    assert min(bar["first_offset"] for bar in bars if bar["tick_count"]) >= begin
    assert max(bar["close_offset"] for bar in bars) <= stop
    whole = [
        bar for bar in published
        if bar["tick_count"] and bar["first_offset"] >= begin and bar["close_offset"] <= stop
    ]  # fmt: skip
    names = {(bar["symbol"], bar["bucket_start"]) for bar in bars}
    left_out = [bar for bar in whole if (bar["symbol"], bar["bucket_start"]) not in names]
    # only where a later bucket of the series has an earlier tick
    assert len(left_out) <= len(whole) // 10


def test_a_partition_without_a_bar_in_the_range_has_nothing_to_replay(lived: Pipeline) -> None:
    # . . . published . . .| from        one partition of several is often like that
    after = iso_from_us(minutes_of(lived)[-1] + 86_400_000_000)
    said = replay(lived, "--suffix", "after", "--from", after)
    assert (said.code, said.differences) == (0, []), said.text
    assert not newest(lived, shadows(lived, "after")[lived.names.final_1m])
    # and nothing of before counts as open where it ended
    assert {tally["open"] for tally in said.summary["timeframes"].values()} == {0}


def test_one_series_alone(lived: Pipeline) -> None:
    said = replay(lived, "--suffix", "alone", "chx", "s00")
    assert (said.code, said.differences) == (0, []), said.text
    keys = newest(lived, shadows(lived, "alone")[lived.names.final_1m])
    assert {split_bar_key(key)[:2] for key in keys} == {("CHX", "S00")}
    assert said.equal["1m"] == len(minutes_of(lived))


async def _standing(made: Pipeline) -> tuple[dict[str, Any], dict[Any, Any]]:
    """End offsets of every topic of production, committed or not, and what the group committed."""
    names = made.names.by_logical().values()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=made.bootstrap, group_id=made.settings.app_id, enable_auto_commit=False
    )
    await consumer.start()
    try:
        cluster = await consumer._client.fetch_all_metadata()
        ends: dict[str, Any] = {}
        committed: dict[Any, Any] = {}
        for name in names:
            places = [TopicPartition(name, p) for p in cluster.partitions_for_topic(name) or ()]
            ends[name] = await consumer.end_offsets(places)
            committed.update({place: await consumer.committed(place) for place in places})
    finally:
        await consumer.stop()
    return ends, committed


def test_production_is_only_read(lived: Pipeline) -> None:
    # control records of a transaction would move an end offset too
    before = asyncio.run(_standing(lived))
    assert replay(lived, "--suffix", "only-read", "--grace", "1").code in (0, 1)
    assert replay(lived, "diff", "--suffix", "only-read").code in (0, 1)
    replay(lived, "drop", "--suffix", "only-read")
    assert asyncio.run(_standing(lived)) == before


def test_a_replay_is_made_once_unless_asked_for_again(lived: Pipeline) -> None:
    first = replay(lived, "--suffix", "again", "--from-offset", "0", "--partition", "1")
    assert first.code == 0, first.text
    refused = replay(lived, "--suffix", "again")
    assert refused.code == 2
    assert "--again" in refused.text
    assert replay(lived, "--suffix", "again", "--again").code == 0


def test_what_was_never_replayed_cannot_be_compared(lived: Pipeline) -> None:
    said = replay(lived, "diff", "--suffix", "never")
    assert (said.code, said.lines) == (2, [])
