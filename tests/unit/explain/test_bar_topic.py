"""A topic of bars is searched by halves where its bars stand in the order of their minutes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from barstream.explain import bars
from barstream.explain.bars import BarTopic, SeriesPlace
from barstream.log.finals import versions
from barstream.model.time import MINUTE_US
from barstream.runtime.flush import bar_rows
from tests.cluster import cluster_at
from tests.memory_kafka import MemoryKafka, reading_from
from tests.sample_bar import SAMPLE

COUNT = 600
BAR = SAMPLE.replace(
    high=1.0,
    low=1.0,
    close=1.0,
    volume=1.0,
    tick_count=1,
    close_time_us=0,
    first_offset=0,
    last_offset=0,
    close_offset=1,
)


@pytest.fixture
def offsets_read() -> Iterator[list[int]]:
    """Of a topic with a bar of two series every minute, how many offsets each reading takes."""
    kafka, read = MemoryKafka(), []
    made = [
        BAR.replace(symbol=symbol, bucket_start_us=minute * MINUTE_US)
        for minute in range(COUNT)
        for symbol in ("X", "Y")
    ]
    for row in bar_rows(made):
        kafka.topic("finals").append(1_000, row.key, row.value)

    async def counted(cluster: Any, topic: str, spans: Any, wanted: Any) -> Any:
        read.append(sum(span.end - span.begin for span in spans.values()))
        return await versions(cluster, topic, spans, wanted)

    with (
        reading_from(kafka),
        mock.patch(f"{bars.__name__}.versions", counted),
        mock.patch.multiple(bars, _NEAR=40, _PROBE=4),
    ):
        yield read


@pytest.mark.parametrize("first", [0, 300, COUNT - 10])
def test_the_bars_of_a_span_are_found_without_reading_all(
    first: int, offsets_read: list[int]
) -> None:
    def between(open_us: int | None) -> list[int]:
        place = SeriesPlace(cluster_at(), 0, ("B", "X"), None, lambda *_: None)
        topic = BarTopic("finals", place, open_us=open_us)
        span = first * MINUTE_US, (first + 20) * MINUTE_US
        found = asyncio.run(topic.between(*span, 0))
        return [version.offset for version in found]

    assert between(2 * MINUTE_US) == [2 * at for at in range(first, min(first + 20, COUNT))]
    assert sum(offsets_read) < COUNT / 2
    offsets_read.clear()
    assert between(None) == [2 * at for at in range(first, min(first + 20, COUNT))]
    assert sum(offsets_read) == 2 * COUNT
