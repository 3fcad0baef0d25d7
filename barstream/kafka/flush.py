"""What a flush writes, as bytes by topic and partition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from barstream.codecs.avro.body import encode_batch
from barstream.codecs.topics.rules import encode_rules
from barstream.codecs.topics.series_seen import encode as encode_seen
from barstream.codecs.topics.state import (
    POSITION_KEY,
    Position,
    WrittenUpTo,
    encode_position,
)
from barstream.codecs.topics.state_rows import encode_series_rows
from barstream.kafka.topics.batch_size import PLANNED_BYTES
from barstream.market.universe import SeriesSeen
from barstream.model.bar import Bar
from barstream.model.exact_sum import to_decimal
from barstream.model.key import bar_key
from barstream.model.period import MINUTE, Period
from barstream.partition.emitted import Pending, RejectedTick
from barstream.rules.series import PartitionState

#: Of a rejected tick: key and value together, the key alone, and characters of the detail.
_LARGEST_VALUE: Final = 900_000
_LARGEST_KEY: Final = 100_000
_LARGEST_DETAIL: Final = 2_000
#: What else a batch of one rejected tick takes at most: the detail in four bytes a character, the
#: other headers, names of topics among them, and what frames them.
_BESIDE: Final = 4 * _LARGEST_DETAIL + 2_000


#: Shared, because the producer takes nothing but a list and most rows have no headers.
_NO_HEADERS: Final[list[tuple[str, bytes]]] = []


class Row(NamedTuple):
    """One record to be written."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]] = _NO_HEADERS


@dataclass(frozen=True, slots=True)
class OutputTopics:
    """Names of the topics a flush writes to; ``finals`` and ``live`` are those of minutes.

    Attributes:
        rollups: topic of the finals of each longer period.
        live_rollups: topic of the open bars, of those periods that publish them.
        largest_rejected: the most bytes the topic of rejected ticks takes in a batch.
    """

    ticks: str
    finals: str
    live: str
    rejected: str
    series: str
    series_seen: str
    rollups: Mapping[Period, str] = field(default_factory=dict)
    live_rollups: Mapping[Period, str] = field(default_factory=dict)
    largest_rejected: int = PLANNED_BYTES

    @property
    def names(self) -> set[str]:
        """Of all topics that are written to."""
        return {
            self.finals, self.live, self.rejected, self.series, self.series_seen,
            *self.rollups.values(), *self.live_rollups.values(),
        }  # fmt: skip

    @property
    def finals_by_period(self) -> dict[Period, str]:
        """Topic of the finals of each period, minutes first."""
        return {MINUTE: self.finals, **self.rollups}


@dataclass(slots=True)
class Flush:
    """One transaction: rows by (topic, partition), in order."""

    rows: dict[tuple[str, int], list[Row]] = field(default_factory=dict)

    def __len__(self) -> int:
        return sum(map(len, self.rows.values()))

    def add(self, topic: str, partition: int, rows: list[Row]) -> None:
        """Rows of one partition of one topic, in order."""
        if rows:
            self.rows.setdefault((topic, partition), []).extend(rows)

    def at_least(self, topic: str, partition: int, reached: int) -> int:
        """The offset that the last record of a partition has at least, once this is written.

        Args:
            topic: its name.
            partition: its number.
            reached: the last offset that was there before.
        """
        return reached + len(self.rows.get((topic, partition), ()))


def build_flush(
    pending: Pending,
    state: PartitionState,
    partition: int,
    topics: OutputTopics,
    topic_id: str | None,
    reached: Mapping[str, WrittenUpTo] | None = None,
) -> Flush:
    """The rows of ``pending``, taken synchronously so that they belong to one position.

    After a final the live record of its bucket equals it, so a final is written to both topics.

    Args:
        pending: what is to be written.
        state: of the partition.
        partition: its number.
        topics: where it is written.
        topic_id: identity of the tick topic.
        reached: by topic of finals the last offset that is known to be there; None: not known.
    """
    flush = Flush()
    finals = bar_rows(pending.finals)
    flush.add(topics.finals, partition, finals)
    flush.add(topics.live, partition, [*bar_rows(pending.live), *finals])
    _add_rollups(flush, pending, partition, topics)
    flush.add(topics.rejected, partition, _rejected_rows(pending.rejected, topics, partition))
    values = encode_series_rows(state, pending.touched)
    rows = [Row(series.key, value) for series, value in zip(pending.touched, values, strict=True)]
    rows += [Row(rules.key, encode_rules(rules)) for rules in pending.rules]
    written = reached and {
        topic: upto._replace(offset=flush.at_least(topic, partition, upto.offset))
        for topic, upto in reached.items()
    }
    position = Position(
        pending.position, pending.heartbeat_position, topic_id, pending.periods,
        pending.last_batch, written,
    )  # fmt: skip
    rows.append(Row(POSITION_KEY, encode_position(position)))
    flush.add(topics.series, partition, rows)
    flush.add(
        topics.series_seen,
        0,
        [
            Row(
                series.key,
                encode_seen(
                    SeriesSeen(
                        series.broker,
                        series.symbol,
                        partition,
                        series.first_tick_us,
                        series.last_trading_date or 0,
                        state.is_live(series),
                        int(state.closed_until_us[series.slot]),
                    )
                ),
            )
            for series in pending.seen
            if series.last_trading_date is not None
        ],
    )
    return flush


def _add_rollups(flush: Flush, pending: Pending, partition: int, topics: OutputTopics) -> None:
    finals = by_period(pending.rollups)
    shown = by_period(pending.live_rollups)
    for period, topic in topics.rollups.items():
        rows = bar_rows(finals.get(period, ()))
        flush.add(topic, partition, rows)
        live = topics.live_rollups.get(period)
        if live is not None:
            flush.add(live, partition, [*bar_rows(shown.get(period, ())), *rows])


def by_period(bars: Iterable[tuple[Period, Bar]]) -> dict[Period, list[Bar]]:
    """Bars of each period, in order."""
    found: dict[Period, list[Bar]] = {}
    for period, bar in bars:
        found.setdefault(period, []).append(bar)
    return found


def bar_rows(bars: Sequence[Bar]) -> list[Row]:
    """Key and value of each bar, in order."""
    if not bars:
        return []
    values = encode_batch("bar", bar_columns(bars))
    return [
        Row(bar_key(bar.broker, bar.symbol, bar.bucket_start_us), value)
        for bar, value in zip(bars, values, strict=True)
    ]


def bar_columns(bars: Sequence[Bar]) -> dict[str, list[Any]]:
    """The fields of ``bar.avsc``, one list a field."""
    return {
        "broker": [bar.broker for bar in bars],
        "symbol": [bar.symbol for bar in bars],
        "bucket_start": [bar.bucket_start_us for bar in bars],
        "trading_date": [bar.trading_date for bar in bars],
        "session": [bar.session for bar in bars],
        "open": [bar.open for bar in bars],
        "high": [bar.high for bar in bars],
        "low": [bar.low for bar in bars],
        "close": [bar.close for bar in bars],
        "volume": [bar.volume for bar in bars],
        "tick_count": [bar.tick_count for bar in bars],
        "open_time": [bar.open_time_us for bar in bars],
        "close_time": [bar.close_time_us for bar in bars],
        "synthetic": [bar.synthetic for bar in bars],
        "revision": [bar.revision for bar in bars],
        "first_offset": [bar.first_offset for bar in bars],
        "last_offset": [bar.last_offset for bar in bars],
        "close_offset": [bar.close_offset for bar in bars],
        "volume_exact": [
            None if bar.volume_units is None else to_decimal(bar.volume_units) for bar in bars
        ],
    }


def _rejected_rows(
    ticks: Sequence[RejectedTick], topics: OutputTopics, partition: int
) -> list[Row]:
    # in a stream of garbage there is one for every record: what repeats is made once
    source = ("topic", topics.ticks.encode()), ("partition", b"%d" % partition)
    reasons: dict[tuple[str, str], tuple[tuple[str, bytes], tuple[str, bytes]]] = {}
    rows: list[Row] = []
    most = min(_LARGEST_VALUE, topics.largest_rejected - _BESIDE)
    for tick in ticks:
        key, value, detail = tick.key, tick.value, tick.detail
        if len(key or b"") + len(value or b"") > most:
            key, value, detail = _cut(tick, most)
        elif key is None and value is None:
            value = b""  # a record needs one of them
        why = reasons.get((tick.reason, detail))
        if why is None:
            encoded = detail[:_LARGEST_DETAIL].encode()
            why = reasons[tick.reason, detail] = (
                ("reason", tick.reason.encode()), ("detail", encoded),
            )  # fmt: skip
        rows.append(Row(key, value, [*why, *source, ("offset", b"%d" % tick.offset)]))
    return rows


def _cut(tick: RejectedTick, most: int) -> tuple[bytes | None, bytes | None, str]:
    """With its headers a row must not pass what a broker takes, or no flush succeeds again."""
    key, value, detail = tick.key, tick.value, tick.detail
    longest = min(_LARGEST_KEY, most // 2)
    if key is not None and len(key) > longest:
        detail = f"{detail} (the key is cut from {len(key)} bytes)"
        key = key[:longest]
    room = most - len(key or b"")
    if value is not None and len(value) > room:
        detail = f"{detail} (the value is cut from {len(value)} bytes)"
        value = value[:room]
    return key, value, detail
