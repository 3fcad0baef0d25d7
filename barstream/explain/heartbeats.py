"""Heartbeats of one series."""

from __future__ import annotations

from typing import Final

import polars as pl

from barstream.explain.close_cause import came_behind_first_tick, is_legal, is_used_behind
from barstream.explain.facts import Beat, Facts
from barstream.explain.window import Progress, forward
from barstream.kafka.cluster import Cluster
from barstream.log.heartbeats import heartbeats
from barstream.log.selection import Selection
from barstream.log.snapshot import Span, held, offsets_at
from barstream.model.time import SECOND_US

#: So many are kept: of one that late ticks made every heartbeat since its minute may stand below.
_KEPT: Final = 1_000
_MARGIN_US: Final = 60 * SECOND_US


async def beats_from(
    cluster: Cluster,
    topic: str,
    partition: int,
    series: tuple[str, str],
    begin: int,
    facts: Facts,
    close_offset: int | None,
    progress: Progress,
) -> tuple[Beat, ...]:
    """Heartbeats for a minute or later ones, in log order.

    Args:
        cluster: where the topic is.
        topic: of heartbeats.
        partition: of the series.
        series: broker and symbol, normalised.
        begin: the first offset that is looked at: those below are withdrawn.
        facts: of the minute, with the rules by which they were taken.
        close_offset: of the minute's final: the first heartbeat that was used behind it ends the
            search; None: it is not final, and the first legal one does that was used behind the
            first tick of the series.
        progress: told how far it has come.
    """
    minute_us = facts.bucket_us
    whole = (await held(cluster, topic, [partition]))[partition]
    # a legal one was appended after its minute, others are of interest as well
    spans, since_us = {partition: whole}, minute_us - _MARGIN_US
    begin = max(begin, (await offsets_at(cluster, topic, spans, since_us))[partition])
    wanted = Selection(*series, minute_us)
    found: list[Beat] = []
    for window in forward(Span(begin, whole.end), "heartbeats", progress):
        for beat in _beats(await heartbeats(cluster, topic, {partition: window}, wanted)):
            found.append(beat)
            if len(found) == _KEPT or is_last(facts, beat, close_offset):
                return tuple(found)
    return tuple(found)


def is_last(facts: Facts, beat: Beat, close_offset: int | None) -> bool:
    """Whether what comes after ``beat`` cannot have closed the minute first."""
    if close_offset is None:
        return is_legal(facts, beat) and came_behind_first_tick(facts, beat)
    return is_used_behind(facts, beat, close_offset)


async def first_appended_from(
    cluster: Cluster,
    topic: str,
    partition: int,
    series: tuple[str, str],
    time_us: int,
    progress: Progress,
) -> Beat | None:
    """The first heartbeat of the series appended at or after ``time_us``."""
    whole = (await held(cluster, topic, [partition]))[partition]
    begin = (await offsets_at(cluster, topic, {partition: whole}, time_us))[partition]
    for window in forward(Span(begin, whole.end), "heartbeats", progress):
        for beat in _beats(
            await heartbeats(cluster, topic, {partition: window}, Selection(*series))
        ):
            if beat.appended_us >= time_us:
                return beat
    return None


def _beats(found: pl.DataFrame) -> list[Beat]:
    rows = found.select("offset", "appended_us", "bucket_start", "barrier", "sent_at", "source")
    return [
        Beat(offset, -1 if appended_us is None else appended_us, *rest)
        for offset, appended_us, *rest in rows.iter_rows()
    ]
