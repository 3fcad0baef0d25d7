"""What is already known of the series a file holds: where they are seen, what is closed.

A file whose ticks lie in minutes that are closed would be rejected tick by tick as late;
``ticks load`` finds that out before it sends anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from barstream.errors import BarstreamError
from barstream.kafka.cluster import Cluster
from barstream.log.snapshot import Span, chunks, held
from barstream.market.universe import SeriesName, SeriesSeen
from barstream.model.key import split_bar_key
from barstream.model.time import MINUTE_US

TAIL_RECORDS: Final = 100_000
"""Records from the end of a partition that are looked at: series_seen knows the rest."""
READ_WITHIN_S: Final = 60.0


class TailUnreadableError(BarstreamError):
    """The end of a topic could not be read in time: check the broker, then try again."""


async def newest_minutes(
    cluster: Cluster, topics: Collection[str], partitions: Iterable[int]
) -> dict[SeriesName, int]:
    """Newest bucket of each series among the last records of ``topics``, keyed like bars.

    What a tombstone withdrew does not count.

    Finals tell what is closed; heartbeats also what will be once a worker reads them.

    Raises:
        TailUnreadableError: the records did not come.
    """
    numbers, standing = sorted(set(partitions)), list[set[bytes]]()
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            for topic in topics:
                standing.append(await _standing(cluster, topic, numbers))
    except TimeoutError as error:
        raise TailUnreadableError(
            f"the end of {', '.join(sorted(topics))} must be readable to know what is closed; it "
            f"was not within {READ_WITHIN_S:.0f} s: check the broker"
        ) from error
    return _newest(key for keys in standing for key in keys)


async def _standing(cluster: Cluster, topic: str, partitions: Collection[int]) -> set[bytes]:
    """The keys among the last records of each partition that were not withdrawn."""
    whole, found = await held(cluster, topic, partitions), set[bytes]()
    ends = {
        partition: Span(max(span.begin, span.end - TAIL_RECORDS), span.end)
        for partition, span in whole.items()
    }
    async for chunk in chunks(cluster, topic, ends):
        for key, value in zip(chunk.keys, chunk.values, strict=True):
            if value is None:
                found.discard(key or b"")
            else:
                found.add(key or b"")
    return found


def _newest(keys: Iterable[bytes]) -> dict[SeriesName, int]:
    found: dict[SeriesName, int] = {}
    for key in keys:
        try:
            broker, symbol, minute_us = split_bar_key(key)
        except ValueError:  # not ours: the topic's owner reports it
            continue
        name = (broker, symbol)
        found[name] = max(found.get(name, minute_us), minute_us)
    return found


def closed_until(
    seen: Mapping[SeriesName, SeriesSeen], newest: Mapping[SeriesName, int]
) -> dict[SeriesName, int]:
    """The instant before which the minutes of each series are closed, or about to be."""
    closed = {name: row.closed_until_us for name, row in seen.items()}
    for name, minute_us in newest.items():
        closed[name] = max(closed.get(name, minute_us), minute_us + MINUTE_US)
    return closed
