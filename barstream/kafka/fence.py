"""The fence of a command that writes what only a worker writes, into partitions of stopped workers.

It writes with the transactional ids of the workers: one that comes up meanwhile is fenced, or
fences the command, and of the two only one writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced

from barstream.errors import BarstreamError
from barstream.kafka.changelog import decided
from barstream.kafka.cluster import Cluster
from barstream.kafka.consumer_group import require_no_workers
from barstream.kafka.writer import PartitionWriter

#: One transaction may hold the bars of months.
_WITHIN_S: Final = 600.0


@asynccontextmanager
async def fenced_partitions(
    cluster: Cluster,
    partitions: Collection[int],
    topics: Collection[str],
    refusal: type[BarstreamError],
    done: str,
) -> AsyncIterator[dict[int, PartitionWriter]]:
    """Nobody else writes to these partitions inside; what is there is looked at inside as well.

    Args:
        cluster: of the application.
        partitions: of the tick topic, and of all that is made of it.
        topics: those read inside; all that workers committed to them can be read.
        refusal: raised where Kafka or a worker comes in between.
        done: what the command does, for its sentence: ``withdrawn``.

    Yields:
        The started producer of each partition.

    Raises:
        WorkersRunning: nobody was fenced.
        ReadingStalled: a transaction of a worker does not end.
        BarstreamError: as ``refusal`` says; a transaction that was open is aborted by whoever takes
            the partition next.
    """
    await require_no_workers(cluster.settings)
    producers = {
        number: PartitionWriter(cluster, f"{cluster.settings.app_id}-{number}", _WITHIN_S)
        for number in partitions
    }
    try:
        for producer in producers.values():
            await producer.start()
        places = [TopicPartition(topic, number) for number in partitions for topic in topics]
        await decided(cluster, places)
        yield producers
    except ProducerFenced as error:
        raise refusal(_taken_over(partitions, done)) from error
    except KafkaError as error:
        raise refusal(_failed(partitions, done, error)) from error
    finally:
        await asyncio.gather(*(producer.stop() for producer in producers.values()))


def _taken_over(partitions: Collection[int], done: str) -> str:
    match sorted(partitions):
        case [one]:
            what = f"partition {one} over meanwhile, and nothing of it was {done}"
        case _:
            what = f"a partition over meanwhile, and nothing was {done}"
    return f"a worker took {what}: stop all workers, and do it again"


def _failed(partitions: Collection[int], done: str, error: KafkaError) -> str:
    match sorted(partitions):
        case [one]:
            return (
                f"Kafka failed at partition {one} ({error!r}): do it again, it finds what is left"
            )
        case _:
            return f"Kafka failed ({error!r}), and nothing was {done}: do it again"
