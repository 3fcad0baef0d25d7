"""Rows become batches that their topic takes, in order; one that it never takes is named."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from barstream.errors import RowTooLarge
from barstream.kafka.flush import Row
from barstream.kafka.writer import BatchWriter
from tests.cluster import cluster_at


def batches(rows: Sequence[Row], batch_bytes: int, most: int) -> list[tuple[int, int]]:
    """Rows and bytes of each batch of a topic that takes ``most`` bytes."""

    async def made() -> list[tuple[int, int]]:
        writer = BatchWriter(cluster_at(), batch_bytes, {"bars": most})
        found = []
        for batch in writer.batches("bars", 0, rows):
            batch.close()
            found.append((batch.record_count(), len(batch._build())))
        return found

    return asyncio.run(made())


@pytest.mark.parametrize("most", [400, 5_000, 1_048_588])
def test_every_row_is_in_a_batch_that_its_topic_takes(most: int) -> None:
    rows = [Row(b"%d" % at, b"v" * (at % 97), [("n", b"x")] * (at % 3)) for at in range(300)]
    found = batches(rows, 2_000, most)
    assert sum(count for count, _ in found) == len(rows)
    assert max(size for _, size in found) <= min(most, 2_000)
    assert len(found) > 1


def test_a_row_larger_than_a_batch_goes_alone_where_the_topic_takes_it() -> None:
    rows = [Row(b"a", b"v"), Row(b"b", b"v" * 5_000), Row(b"c", None)]
    assert [count for count, _ in batches(rows, 2_000, 1_048_588)] == [1, 1, 1]


@pytest.mark.parametrize("before", [0, 3])
def test_a_row_that_no_batch_of_its_topic_takes_is_named(before: int) -> None:
    rows = [*[Row(b"a", b"v")] * before, Row(b"EURUSD", b"v" * 1_000)]
    with pytest.raises(RowTooLarge, match=r"bars\[0\] must fit the 900 bytes .* b'EURUSD'"):
        batches(rows, 2_000, 900)


def test_no_rows_are_no_batch() -> None:
    assert batches([], 2_000, 900) == []
