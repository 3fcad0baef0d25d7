"""How far each partition and each series has come, as the log says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from barstream.codecs.topics.row_version import RowTooNew
from barstream.codecs.topics.rules import RulesRow, decode_rules, is_rules_key
from barstream.codecs.topics.series_seen import UniverseReading
from barstream.codecs.topics.state import (
    POSITION_KEY,
    Position,
    decode_position,
    decode_series,
)
from barstream.codecs.topics.withdrawal import (
    WithdrawalRow,
    Withdrawn,
    decode_withdrawal,
    is_withdrawal_key,
)
from barstream.kafka.cluster import Cluster
from barstream.log.compaction import newest_records
from barstream.log.errors import HistoryUnreadable
from barstream.log.snapshot import Spans, chunks, held
from barstream.market.universe import SeriesSeen, Universe
from barstream.rules.series import NEVER_US


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """The newest row of a series; fields as in ``series_state.avsc``, None for never."""

    broker: str
    symbol: str
    closed_until_us: int | None
    watermark_us: int | None
    previous_close: float | None
    first_tick_us: int | None
    last_trading_date: int | None
    since_timely: int
    #: Rows of ``OpenBar``, ascending.
    open_bars: tuple[dict[str, Any], ...]


@dataclass(slots=True)
class PartitionRows:
    """What a partition of topic ``{app_id}-series`` says.

    Attributes:
        position: None: nothing was applied yet.
        position_offset: the offset its row stands at; with it the finals of that flush.
        series: by (broker, symbol).
        rules: by which it was judged, in the order in which they followed each other; what came
            before the first was judged by a worker that did not write them.
        withdrawals: by (broker, symbol), of series that were dropped.
    """

    position: Position | None = None
    position_offset: int = -1
    series: dict[tuple[str, str], SeriesRow] = field(default_factory=dict)
    rules: list[RulesRow] = field(default_factory=list)
    withdrawals: dict[tuple[str, str], WithdrawalRow] = field(default_factory=dict)

    def withdrawn(self, partition: int) -> Withdrawn:
        """What is withdrawn of the ticks and heartbeats of this partition, its number given."""
        return Withdrawn.of(self.withdrawals.values(), partition)


async def series_rows(cluster: Cluster, topic: str, spans: Spans) -> dict[int, PartitionRows]:
    """The newest rows of each partition of ``spans``.

    Raises:
        HistoryGone, ReadingStalled: the spans cannot be read.
        HistoryUnreadable: a row is none.
        RowTooNew: a later release has written one.
    """
    found = {partition: PartitionRows() for partition in spans}
    newest = await newest_records(cluster, topic, spans)
    for partition, key, value, offset in newest.drop_nulls("value").iter_rows():
        try:
            _take(found[partition], key, value, offset)
        except RowTooNew as error:
            where = f"{topic}[{partition}] at offset {offset}"
            raise RowTooNew(error.version, where) from error
        except ValueError as error:
            raise HistoryUnreadable(
                f"{topic}[{partition}] offset {offset} must be a row of a series or a "
                f"position: {error}; does another program write to it?"
            ) from error
    for part in found.values():
        part.rules.sort(key=lambda row: row.key)
    return found


def _take(part: PartitionRows, key: bytes, value: bytes, offset: int) -> None:
    """Take the newest row of a key."""
    if key == POSITION_KEY:
        part.position, part.position_offset = decode_position(value), offset
    elif is_rules_key(key):
        part.rules.append(decode_rules(key, value))
    elif is_withdrawal_key(key):
        withdrawal = decode_withdrawal(key, value)
        part.withdrawals[withdrawal.name] = withdrawal
    else:
        row = _series_row(value)
        part.series[row.broker, row.symbol] = row


async def series_seen(cluster: Cluster) -> dict[tuple[str, str], SeriesSeen]:
    """The universe as every worker reads it.

    Raises:
        TopicMissingError: there is no such topic.
    """
    topic, universe = cluster.names.series_seen, Universe()
    reading = UniverseReading(universe)
    async for chunk in chunks(cluster, topic, await held(cluster, topic)):
        offsets, stamps = chunk.offsets.tolist(), chunk.timestamps_us.tolist()
        for key, value, offset, stamp in zip(
            chunk.keys, chunk.values, offsets, stamps, strict=True
        ):
            reading(key, value, chunk.partition, offset, stamp)
    return {row.name: row for row in universe.rows()}


def _series_row(value: bytes) -> SeriesRow:
    row = decode_series(value)
    return SeriesRow(
        row["broker"],
        row["symbol"],
        _known(row["closed_until"]),
        _known(row["watermark"]),
        row["previous_close"],
        _known(row["first_tick"]),
        row["last_trading_date"],
        row["since_timely"],
        tuple(row["open_bars"]),
    )


def _known(time_us: int) -> int | None:
    return None if time_us == NEVER_US else time_us
