"""A producer that lost its partition says so, wherever in a transaction it was."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import ProducerFenced

from barstream.kafka.flush import Row
from barstream.kafka.writer import PartitionWriter
from tests.cluster import cluster_at
from tests.pipeline import read_topic

pytestmark = pytest.mark.kafka


@pytest.mark.law("L15")
@pytest.mark.parametrize("taken_over", ["before", "between"])
def test_whoever_comes_later_fences_and_nothing_of_the_earlier_is_seen(
    kafka: Any, unique: str, taken_over: str
) -> None:
    """
    first   begin ───── send 0 ───────── send 1 ── commit
    second        before        between
    """

    async def run() -> None:
        cluster = cluster_at(kafka.bootstrap)
        admin = AIOKafkaAdminClient(**cluster.options)
        await admin.start()
        await admin.create_topics([NewTopic(unique, 2, 1)])
        await admin.close()
        first, second = (PartitionWriter(cluster, unique) for _ in range(2))
        await first.start()
        send = first.send

        async def send_then_lose(topic: str, partition: int, rows: Any) -> Any:
            if partition == 0 and taken_over == "before":
                await second.start()
            sent = await send(topic, partition, rows)
            if partition == 0 and taken_over == "between":
                await second.start()
                await asyncio.sleep(0.5)  # until the broker has told the first one
            return sent

        first.send = send_then_lose  # type: ignore[method-assign]
        rows = {(unique, partition): [Row(b"k", b"stale")] for partition in range(2)}
        with pytest.raises(ProducerFenced):
            await first.write(rows)
        await second.write({(unique, 0): [Row(b"k", b"fresh")]})
        await first.stop()
        await second.stop()
        seen = await read_topic(kafka.bootstrap, unique)
        assert [record.value for record in seen] == [b"fresh"]

    asyncio.run(run())
