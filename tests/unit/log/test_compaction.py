"""Of each key the newest record counts, whether Kafka has compacted the topic or not."""

from __future__ import annotations

import asyncio

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.log.compaction import compacted, newest_records, newest_values, since_tombstones
from barstream.log.snapshot import Span
from tests.cluster import cluster_at
from tests.memory_kafka import MemoryKafka, reading_from

RECORDS = st.lists(st.tuples(st.sampled_from(b"abcd"), st.one_of(st.none(), st.binary(max_size=2))))
Records = list[tuple[int, bytes | None]]


def frame(records: Records) -> pl.DataFrame:
    """As `barstream.log.finals` has them."""
    return pl.DataFrame(
        {
            "key": [bytes([key]) for key, _ in records],
            "kind": ["tombstone" if value is None else "bar" for _, value in records],
            "offset": range(len(records)),
        },
        schema={"key": pl.Binary, "kind": pl.String, "offset": pl.Int64},
    )


@pytest.mark.parametrize("at_once", [1, 3, 500_000])
@given(RECORDS)
def test_what_is_read_is_what_a_dict_would_hold(at_once: int, records: Records) -> None:
    kafka = MemoryKafka()
    expected: dict[bytes, tuple[int, bytes | None]] = {}
    for at, (key, value) in enumerate(records):
        kafka.topic("rows").append(at, bytes([key]), value)
        expected[bytes([key])] = at, value
    kafka.topic("rows").append(0, None, b"without a key it is no row")
    with pytest.MonkeyPatch.context() as patched, reading_from(kafka):
        patched.setattr("barstream.log.compaction._THINNED_AT", at_once)
        found = asyncio.run(newest_records(cluster_at(), "rows", {0: Span(0, len(records) + 1)}))
        values = asyncio.run(newest_values(cluster_at(), "rows", 0))
    # by first appearance: whoever numbers series by it numbers them alike the next time
    assert [(key, (at, value)) for _, key, value, at in found.iter_rows()] == [*expected.items()]
    assert values == {key: value for key, (_, value) in expected.items() if value is not None}


@given(RECORDS)
def test_versions_before_a_tombstone_are_gone_and_the_last_of_each_key_stays(
    records: Records,
) -> None:
    found = frame(records)
    last = {key: at for at, (key, _) in enumerate(records)}
    assert compacted(found)["offset"].to_list() == sorted(last.values())
    gone = {key: at for at, (key, value) in enumerate(records) if value is None}
    alive = [at for at, (key, _) in enumerate(records) if at > gone.get(key, -1)]
    assert since_tombstones(found)["offset"].to_list() == alive
