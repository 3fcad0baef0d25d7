"""What must have come out of a pipeline, computed from its topics one tick at a time.

Ticks and heartbeats are read back from Kafka and given to `tests.reference.series` in the order
the contract says: a heartbeat counts at its barrier.  Heartbeats may be taken later than that,
so ``close_offset`` is held between two bounds; everything else is exact.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from barstream.codecs.avro.body import decode
from barstream.codecs.topics.bar import bar_of
from barstream.codecs.topics.heartbeat import HeartbeatRecord
from barstream.codecs.topics.heartbeat import decode as decode_heartbeat
from barstream.market.session import SessionRow
from tests.pipeline import Pipeline, Record
from tests.plain_bar import VALUES, in_plain
from tests.reference.log import LoggedHeartbeat, LoggedTick, applied, events
from tests.reference.series import PlainSeries, rounded_sum

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
_END_OF_TIME_US = 253_402_300_800_000_000
Bars = dict[tuple[str, int], dict[str, Any]]


@dataclass
class Truth:
    """Finals by (symbol, minute) and rejected ticks by (partition, offset)."""

    bars: Bars = field(default_factory=dict)
    #: Without any heartbeat: no bar may close later than this says.
    latest: Bars = field(default_factory=dict)
    rejected: dict[tuple[int, int], str] = field(default_factory=dict)
    ticks: int = 0
    #: Every heartbeat, (symbol, minute, barrier), in log order by partition.
    heartbeats: list[tuple[str, int, int]] = field(default_factory=list)
    #: By symbol; None: always open.
    sessions: dict[str, list[SessionRow]] | None = None
    #: Partition by symbol, where ticks of a second one are sent on purpose.
    homes: dict[str, int] = field(default_factory=dict)
    #: Reason by (partition, offset) of ticks that are refused before they are decoded.
    refused: Mapping[tuple[int, int], str] = field(default_factory=dict)


def truth_of(
    made: Pipeline,
    sessions: Sequence[SessionRow] | None = None,
    homes: dict[str, int] | None = None,
    refused: Mapping[tuple[int, int], str] | None = None,
) -> Truth:
    """The truth as the topics of ``made`` have it now.

    Args:
        made: the pipeline.
        sessions: in force all the time; None: always open.
        homes: partition by symbol; None: no tick is sent to a second one.
        refused: reason by (partition, offset) of ticks that are refused before they are decoded.
    """
    rows = None if sessions is None else _by_symbol(sessions)
    truth = Truth(sessions=rows, homes=homes or {}, refused=refused or {})
    grace_us = made.settings.bars.grace_us
    ticks = _by_partition(made.read(made.names.ticks))
    beats = _by_partition(made.read(made.names.heartbeats))
    for partition, records in ticks.items():
        found = [_beat_in(record, grace_us) for record in beats.get(partition, [])]
        waiting = [
            LoggedHeartbeat(beat.symbol, beat.bucket_start_us, beat.barrier)
            for beat in found
            if beat
        ]
        truth.heartbeats += [each[:3] for each in waiting]
        _run(truth, partition, records, waiting, grace_us)
    return truth


def _run(
    truth: Truth,
    partition: int,
    records: list[Record],
    beats: list[LoggedHeartbeat],
    grace_us: int,
) -> None:
    ticks: list[LoggedTick] = []
    brokers: dict[str, str] = {}
    for record in records:
        truth.ticks += 1
        tick, reason = _judged(truth, record, grace_us)
        if tick is None or reason is not None:
            truth.rejected[partition, record.offset] = reason or "undecodable"
            continue
        values = tick["symbol"], int(tick["time"]), tick["price"], tick["size"]
        ticks.append(LoggedTick(record.offset, *values))
        brokers.setdefault(tick["symbol"], tick["broker"])

    def series_of(first: LoggedTick) -> PlainSeries:
        return _series(brokers[first.symbol], first, grace_us, truth.sessions)

    closed = applied(events(ticks, beats), series_of)
    unclosed = applied(events(ticks, []), series_of)
    for symbol, one in closed.items():
        truth.bars.update({(symbol, bar["bucket"]): bar for bar in one.finals})
        # what is off session is counted, and not written
        truth.rejected.update(
            {(partition, offset): why for offset, why in one.rejected if why != "off_session"}
        )
    for symbol, one in unclosed.items():
        truth.latest.update({(symbol, bar["bucket"]): bar for bar in one.finals})


def _judged(
    truth: Truth, record: Record, most_ahead_us: int
) -> tuple[dict[str, Any] | None, str | None]:
    """The tick, its time in microseconds, and why it is none of ours."""
    if (reason := truth.refused.get((record.partition, record.offset))) is not None:
        return None, reason
    try:
        tick = decode("tick", record.value or b"")
    except ValueError:
        return None, "undecodable"
    time_us = tick["time"] = _us(tick["time"])
    sizes = math.isfinite(tick["price"]) and math.isfinite(tick["size"]) and tick["size"] >= 0
    if not sizes or not 0 <= time_us < _END_OF_TIME_US:
        return tick, "invalid"
    if time_us > _earlier_us(record) + most_ahead_us:
        return tick, "future"
    if truth.sessions is not None and tick["symbol"] not in truth.sessions:
        return tick, "unscheduled"
    elsewhere = truth.homes.get(tick["symbol"], record.partition) != record.partition
    return tick, "partition" if elsewhere else None


def _earlier_us(record: Record) -> int:
    """The earlier of its timestamp, if it has one (none is negative), and of the clock.

    Where timestamps are the producer's, the clock at fetch counts.  That of now is later, which
    makes no difference to ticks that are an hour ahead.
    """
    now_us = time.time_ns() // 1000
    return now_us if record.timestamp_ms < 0 else min(record.timestamp_ms * 1000, now_us)


def _us(value: Any) -> int:
    return value if isinstance(value, int) else round(value.timestamp() * 1e6)


def _beat_in(record: Record, grace_us: int) -> HeartbeatRecord | None:
    """The heartbeat; None where it is none, or was appended before its minute was over."""
    try:
        beat = decode_heartbeat(record.value or b"")
    except ValueError:
        return None
    over_us = beat.bucket_start_us + MINUTE_US + grace_us
    return beat if over_us <= record.timestamp_ms * 1000 else None


def _by_symbol(sessions: Sequence[SessionRow]) -> dict[str, list[SessionRow]]:
    rows: dict[str, list[SessionRow]] = {}
    for row in sessions:
        rows.setdefault(row.symbol, []).append(row)
    return rows


def _series(
    broker: str,
    first: LoggedTick,
    grace_us: int,
    sessions: dict[str, list[SessionRow]] | None,
) -> PlainSeries:
    if sessions is not None:
        return PlainSeries(sessions[first.symbol], grace_us, 5)
    today = first.time_us // DAY_US
    rows = [
        SessionRow(broker, first.symbol, day, 0, day * DAY_US, (day + 1) * DAY_US)
        for day in range(today - 1, today + 3)
    ]
    return PlainSeries(rows, grace_us, 5)


def problems_of(made: Pipeline, truth: Truth) -> list[str]:
    """Everything published that is not what ``truth`` says; each bar and rejection exactly once."""
    problems = _finals(made, truth) + _rejections(made, truth) + _live(made, truth)
    # with sessions a bucket may end before its nominal end
    return problems + (_upper(made) if truth.sessions is None else [])


def _finals(made: Pipeline, truth: Truth) -> list[str]:
    published = made.finals()
    found = {(bar["symbol"], int(bar["bucket_start"])): bar for bar in published}
    twice = Counter((bar["symbol"], int(bar["bucket_start"])) for bar in published)
    problems = [f"{key} written {count} times" for key, count in twice.items() if count > 1]
    problems += [f"{key} missing" for key in sorted(truth.bars.keys() - found.keys())]
    problems += [f"{key} not expected" for key in sorted(found.keys() - truth.bars.keys())]
    for key in sorted(truth.bars.keys() & found.keys()):
        wanted, bar = truth.bars[key], found[key]
        last = truth.latest.get(key, wanted)
        seen = in_plain(bar_of(bar))
        problems += [
            f"{key} {name}: expected {wanted[name]!r}, published {seen[name]!r}"
            for name in VALUES
            if wanted[name] != seen[name]
        ]
        first, end, closed = bar["first_offset"], bar["last_offset"], bar["close_offset"]
        if (first, end) != wanted["offsets"][:2]:
            problems.append(f"{key} offsets: expected {wanted['offsets']}, found {(first, end)}")
        earliest = wanted["offsets"][2]
        latest = last["offsets"][2] if key in truth.latest else None
        if closed < earliest or (latest is not None and closed > max(latest, earliest)):
            problems.append(f"{key} close_offset {closed}: expected {earliest} to {latest}")
        if bar["revision"]:
            problems.append(f"{key} revised")
    return problems


def _rejections(made: Pipeline, truth: Truth) -> list[str]:
    records = made.rejected()
    found = Counter(
        (int(r.headers["partition"]), int(r.headers["offset"]), r.headers["reason"].decode())
        for r in records
    )
    wanted = {(*place, why) for place, why in truth.rejected.items()}
    problems = [f"rejected {each} {count} times" for each, count in found.items() if count > 1]
    problems += [f"rejected {each} missing" for each in sorted(wanted - found.keys())]
    return problems + [f"rejected {each} not expected" for each in sorted(found.keys() - wanted)]


def _live(made: Pipeline, truth: Truth) -> list[str]:
    """After its final, the live record of a bucket equals it."""
    newest = {record.key: record.value for record in made.read(made.names.live_1m)}
    final = {record.key: record.value for record in made.read(made.names.final_1m)}
    return [f"live of {key!r} is not its final" for key in final if newest.get(key) != final[key]]


def _upper(made: Pipeline) -> list[str]:
    """Each bar of minutes or hours once, of the finals of its bucket, none left out in a crash."""
    minutes: dict[str, list[dict[str, Any]]] = {}
    for bar in made.finals():
        minutes.setdefault(bar["symbol"], []).append(bar)
    problems: list[str] = []
    for period, topic in made.names.rollups.items():
        if not period.is_intraday:
            continue
        wanted: Bars = {}
        for symbol, bars in minutes.items():
            closed_us = max(bar["bucket_start"] for bar in bars) + MINUTE_US
            buckets: dict[int, list[dict[str, Any]]] = {}
            for bar in sorted(bars, key=lambda each: int(each["bucket_start"])):
                start_us = bar["bucket_start"] // period.size_us * period.size_us
                if start_us + period.size_us <= closed_us:
                    buckets.setdefault(start_us, []).append(bar)
            wanted |= {(symbol, at): _folded(children) for at, children in buckets.items()}
        records = [decode("bar", record.value) for record in made.read(topic) if record.value]
        keys = [(bar["symbol"], int(bar["bucket_start"])) for bar in records]
        problems += [f"{period} {key} twice" for key, count in Counter(keys).items() if count > 1]
        found = dict(zip(keys, records, strict=True))
        problems += [f"{period} {key} missing" for key in wanted.keys() - found.keys()]
        problems += [f"{period} {key} not expected" for key in found.keys() - wanted.keys()]
        problems += [
            f"{period} {key} {name}: expected {value!r}, published {found[key][name]!r}"
            for key in wanted.keys() & found.keys()
            for name, value in wanted[key].items()
            if found[key][name] != value
        ]
    return problems


def _folded(children: list[dict[str, Any]]) -> dict[str, Any]:
    real = [bar for bar in children if not bar["synthetic"]]
    priced = real or children
    return {
        "open": priced[0]["open"],
        "high": max(bar["high"] for bar in priced),
        "low": min(bar["low"] for bar in priced),
        "close": priced[-1]["close"],
        "volume": math.fsum(bar["volume"] for bar in children),
        "turnover": rounded_sum(bar["turnover"] for bar in children),
        "tick_count": sum(bar["tick_count"] for bar in children),
        "open_time": priced[0]["open_time"],
        "close_time": priced[-1]["close_time"],
        "synthetic": not real,
        "close_offset": max(bar["close_offset"] for bar in children),
        "revision": 0,
    }


def _by_partition(records: list[Record]) -> dict[int, list[Record]]:
    parts: dict[int, list[Record]] = {}
    for record in records:
        parts.setdefault(record.partition, []).append(record)
    return parts
