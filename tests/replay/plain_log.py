"""What a worker that never lags makes of a log under given rules, one tick at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from barstream.codecs.avro.body import decode
from barstream.codecs.topics.bar import decode_bar
from barstream.codecs.topics.heartbeat import decode as decode_heartbeat
from barstream.market.session import SessionRow
from tests.pipeline import Pipeline, Record
from tests.plain_bar import in_plain
from tests.reference.log import LoggedHeartbeat, LoggedTick, applied, events
from tests.reference.series import PlainSeries
from tests.replay.replays import newest

DAY_US = 86_400_000_000
Rows = Callable[[str, str, int], list[SessionRow]]


def always_open(broker: str, symbol: str, time_us: int) -> list[SessionRow]:
    """Days of 24 hours around a time."""
    today = time_us // DAY_US
    return [
        SessionRow(broker, symbol, day, 0, day * DAY_US, (day + 1) * DAY_US)
        for day in range(today - 1, today + 3)
    ]


def plain(
    made: Pipeline, grace_us: int, *, revises: bool = False, rows: Rows = always_open
) -> dict[tuple[str, int], dict[str, Any]]:
    """The bars that stand, by symbol and minute; see `tests.reference.series`."""
    bars: dict[tuple[str, int], dict[str, Any]] = {}
    ticks = _by_partition(made.read(made.names.ticks))
    beats = _by_partition(made.read(made.names.heartbeats))
    for partition, records in ticks.items():
        found = [decode_heartbeat(each.value or b"") for each in beats.get(partition, [])]
        waiting = [LoggedHeartbeat(one.symbol, one.bucket_start_us, one.barrier) for one in found]
        sound: list[LoggedTick] = []
        brokers: dict[str, str] = {}
        for record in records:
            value = record.value or b""
            if value.startswith(b"\xff"):
                continue
            tick = decode("tick", value)
            time_us = tick["time"]
            if not isinstance(time_us, int):
                time_us = round(time_us.timestamp() * 1e6)
            values = tick["symbol"], time_us, tick["price"], tick["size"]
            sound.append(LoggedTick(record.offset, *values))
            brokers.setdefault(tick["symbol"], tick["broker"])

        def series_of(first: LoggedTick, brokers: dict[str, str] = brokers) -> PlainSeries:
            hours = rows(brokers[first.symbol], first.symbol, first.time_us)
            return PlainSeries(hours, grace_us, 5, revises)

        for symbol, one in applied(events(sound, waiting), series_of).items():
            bars.update({(symbol, at): bar for at, bar in one.bars.items()})
    return bars


def bars_of(made: Pipeline, topic: str) -> dict[tuple[str, int], dict[str, Any]]:
    """The newest bars of a topic, as `plain` has them."""
    bars = [decode_bar(value) for value in newest(made, topic).values()]
    return {(bar.symbol, bar.bucket_start_us): in_plain(bar) for bar in bars}


def _by_partition(records: list[Record]) -> dict[int, list[Record]]:
    parts: dict[int, list[Record]] = {}
    for record in records:
        parts.setdefault(record.partition, []).append(record)
    return parts
