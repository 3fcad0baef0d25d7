"""What a partition has to write, as the rows of one flush."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from barstream.codecs.avro.body import encode_batch
from barstream.codecs.topics.bar import bar_columns
from barstream.codecs.topics.rules import encode_rules
from barstream.codecs.topics.series_seen import encode as encode_seen
from barstream.codecs.topics.state import (
    POSITION_KEY,
    Position,
    WrittenUpTo,
    encode_position,
)
from barstream.codecs.topics.state_rows import encode_series_rows
from barstream.kafka.flush import Flush, Row
from barstream.kafka.topics.outputs import OutputTopics
from barstream.market.universe import SeriesSeen
from barstream.model.bar import Bar
from barstream.model.key import BAR_KEY
from barstream.model.period import Period
from barstream.partition.outbox import Emission, RejectedTick
from barstream.rules.series import PartitionState

#: Of a rejected tick: key and value together, the key alone, and characters of the detail.
_LARGEST_VALUE: Final = 900_000
_LARGEST_KEY: Final = 100_000
_LARGEST_DETAIL: Final = 2_000
#: What else a batch of one rejected tick takes at most: the detail in four bytes a character, the
#: other headers, names of topics among them, and what frames them.
_BESIDE: Final = 4 * _LARGEST_DETAIL + 2_000


def build_flush(
    emitted: Emission,
    state: PartitionState,
    partition: int,
    topics: OutputTopics,
    topic_id: str | None,
    reached: Mapping[str, WrittenUpTo] | None = None,
) -> Flush:
    """The rows of ``emitted``, taken synchronously so that they belong to one position.

    After a final the live record of its bucket equals it, so a final is written to both topics.

    Args:
        emitted: what is to be written.
        state: of the partition.
        partition: its number.
        topics: where it is written.
        topic_id: identity of the tick topic.
        reached: by topic of finals the last offset that is known to be there; None: not known.
    """
    flush = Flush()
    finals = bar_rows(emitted.finals)
    flush.add(topics.finals, partition, finals)
    flush.add(topics.live, partition, [*bar_rows(emitted.live), *finals])
    _add_rollups(flush, emitted, partition, topics)
    flush.add(topics.rejected, partition, _rejected_rows(emitted.rejected, topics, partition))
    values = encode_series_rows(state, emitted.touched)
    rows = [Row(series.key, value) for series, value in zip(emitted.touched, values, strict=True)]
    rows += [Row(rules.key, encode_rules(rules)) for rules in emitted.rules]
    written = reached and {
        topic: upto._replace(offset=flush.at_least(topic, partition, upto.offset))
        for topic, upto in reached.items()
    }
    position = Position(
        emitted.position, emitted.heartbeat_position, topic_id, emitted.periods,
        emitted.last_batch, written,
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
            for series in emitted.seen
            if series.last_trading_date is not None
        ],
    )
    return flush


def _add_rollups(flush: Flush, emitted: Emission, partition: int, topics: OutputTopics) -> None:
    finals = by_period(emitted.rollups)
    shown = by_period(emitted.live_rollups)
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
    columns = bar_columns(bars)
    keys = BAR_KEY.raws(*(columns[name] for name in BAR_KEY.names))
    return list(map(Row, keys, encode_batch("bar", columns)))


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
