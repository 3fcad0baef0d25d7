"""Ticks of a bucket, or of a whole series, among the rejected ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from barstream.explain.facts import RejectionFact, Tick
from barstream.explain.tick_decoder import SeriesDecoder
from barstream.explain.window import Progress, forward
from barstream.kafka.cluster import Cluster
from barstream.log.rejections import Place, place_of
from barstream.log.snapshot import Span, records

#: Records decoded at once.
_BATCH: Final = 5_000

Spans = dict[int, Span]


@dataclass(frozen=True, slots=True)
class RejectionFacts:
    """Rejected ticks of a series.

    Attributes:
        of_bucket: those of one bucket, by place, each once.
        places: partition and offset of all that were looked at.
    """

    of_bucket: tuple[RejectionFact, ...] = ()
    places: frozenset[tuple[int, int]] = field(default_factory=frozenset)


async def rejected_in(
    cluster: Cluster,
    topics: tuple[str, str],
    spans: Spans,
    decoder: SeriesDecoder,
    bucket: tuple[int, int],
    progress: Progress,
) -> RejectionFacts:
    """Rejected ticks of the series, above all with ``bucket[0] <= event time < bucket[1]``.

    Args:
        cluster: where the topic is.
        topics: of rejected ticks, and of ticks.
        spans: what to read of the first.
        decoder: of the series.
        bucket: event times.
        progress: told how far it has come.
    """
    found: dict[tuple[int, int], RejectionFact] = {}
    places: set[tuple[int, int]] = set()
    async for one in _of_series(cluster, topics, spans, decoder, progress):
        place = one.tick.partition, one.tick.offset
        places.add(place)
        if bucket[0] <= one.tick.time_us < bucket[1]:
            found.setdefault(place, one)
    return RejectionFacts(tuple(found[place] for place in sorted(found)), frozenset(places))


async def rejected_by_reason(
    cluster: Cluster,
    topics: tuple[str, str],
    spans: Spans,
    decoder: SeriesDecoder,
    progress: Progress,
) -> dict[str, int]:
    """How many ticks of the series were rejected, by reason."""
    counts: Counter[str] = Counter()
    async for one in _of_series(cluster, topics, spans, decoder, progress):
        counts[one.reason] += 1
    return dict(counts)


async def _of_series(
    cluster: Cluster,
    topics: tuple[str, str],
    spans: Spans,
    decoder: SeriesDecoder,
    progress: Progress,
) -> AsyncIterator[RejectionFact]:
    for partition, span in spans.items():
        for window in forward(span, "rejected ticks", progress):
            places: list[Place] = []
            values: list[bytes | None] = []
            async for record in records(cluster, topics[0], {partition: window}):
                place = place_of(record, topics[1])
                if place is None:
                    continue
                places.append(place)
                values.append(record.value)
                if len(places) >= _BATCH:
                    for one in await _decoded(places, values, decoder):
                        yield one
                    places, values = [], []
            for one in await _decoded(places, values, decoder):
                yield one


async def _decoded(
    places: list[Place], values: list[bytes | None], decoder: SeriesDecoder
) -> list[RejectionFact]:
    folds = [decoder.folds(each.tick_partition, each.tick_offset) for each in places]
    found = []
    for fold_case in set(folds):
        at = [n for n, fold in enumerate(folds) if fold == fold_case]
        some = [places[n] for n in at], [values[n] for n in at]
        found += await _decoded_alike(*some, decoder, fold_case=fold_case)
    return found


async def _decoded_alike(
    places: list[Place], values: list[bytes | None], decoder: SeriesDecoder, *, fold_case: bool
) -> list[RejectionFact]:
    mine = await decoder.read(values, np.full(len(values), -1, np.int64), fold_case=fold_case)
    rows = zip(
        mine.at.tolist(),
        mine.time_us.tolist(),
        mine.price.tolist(),
        mine.size.tolist(),
        strict=True,
    )
    return [
        RejectionFact(
            Tick(places[at].tick_offset, time_us, price, size, -1, places[at].tick_partition),
            places[at].reason,
            places[at].detail,
            places[at].offset,
        )
        for at, time_us, price, size in rows
        if not decoder.is_withdrawn(places[at].tick_partition, places[at].tick_offset)
    ]
