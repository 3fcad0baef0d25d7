"""How many bytes a bar takes: in a worker's RocksDB and in Kafka.

    python -m bench.state_size               # tables in Markdown, as in docs/sizes.md
    python -m bench.state_size --json

No broker is needed.  Bars go through the encoder of a flush and the local store of a worker, in
its tables and in its order (all series of a bucket in one write); Kafka's bytes are those of the
record batches the producer would send.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka.producer.message_accumulator import BatchBuilder
from numpy.typing import NDArray

import tables.finals
from barstream.codecs.topics.heartbeat import HeartbeatRecord, encode
from barstream.config import Settings
from barstream.config.periods import kept_days
from barstream.kafka.flush import Row
from barstream.model.bar import Bar, synthetic_bar
from barstream.model.exact_sum import float_of, group_units, products, unrounded
from barstream.model.period import DAY, Period
from barstream.model.time import DAY_US, MINUTE_US
from barstream.runtime.app import make_app
from barstream.runtime.flush import bar_rows
from barstream.store.finals import FinalsPartition

SERIES = 100
START_US = 1_700_006_400_000_000 // DAY_US * DAY_US
TICKS_A_MINUTE = 40
SYNTHETIC = 0.1
#: About half a million rows each, so that the fixed parts of a store do not count.
DAYS_OF = {"1m": 3, "5m": 14, "15m": 40, "1h": 160, "1d": 3650}
#: A commit marker: a batch of one control record in every partition of a transaction.
MARKER_BYTES = 78


@dataclass(frozen=True)
class Size:
    """Bytes a bar of one kind of rows.

    Attributes:
        body: key and value as they are.
        disk: in the files of RocksDB, all of them compacted.
        disk_as_written: likewise, before that.
        kafka: in the log, its share of batch header and commit marker included.
        kafka_alone: likewise, of a bar that is alone in its flush.
    """

    rows: str
    period: Period
    bars: int
    body: float
    disk: float
    disk_as_written: float
    kafka: float
    kafka_alone: float


def symbols() -> list[str]:
    """A hundred pairs of currencies."""
    codes = ("EUR", "USD", "JPY", "GBP", "CHF", "AUD", "CAD", "NZD", "SEK", "NOK", "PLN")
    return ["".join(pair) for pair in itertools.permutations(codes, 2)][:SERIES]


def buckets(period: Period, days: int, *, revisable: bool) -> Iterator[list[Bar]]:
    """Bars of all series, a bucket at a time, of a market that is always open.

    Prices walk in five places, sizes have two; minutes may be empty, longer bars are not.
    """
    rng = np.random.default_rng(7)
    names = symbols()
    minutes = period.size_us // MINUTE_US if period.is_intraday else 1440
    size_us = minutes * MINUTE_US
    price = np.round(rng.uniform(0.6, 1.9, SERIES), 5)
    offset = 1_000_000_000
    for start_us in range(START_US, START_US + days * DAY_US, size_us):
        count = rng.poisson(TICKS_A_MINUTE * minutes, SERIES)
        empty = (rng.random(SERIES) < SYNTHETIC) if minutes == 1 else np.zeros(SERIES, np.bool_)
        open_, close = price, np.round(price + rng.normal(0, 2e-4 * math.sqrt(minutes), SERIES), 5)
        reach = np.abs(rng.normal(0, 2e-4 * math.sqrt(minutes), (2, SERIES)))
        high = np.round(np.maximum(open_, close) + reach[0], 5)
        low = np.round(np.minimum(open_, close) - reach[1], 5)
        into_ms = np.sort(rng.integers(0, size_us // 1000, (2, SERIES)), axis=0)
        first = offset + rng.integers(0, SERIES, SERIES)
        offset += int(count.sum())
        units, spent = _sums(rng, count, open_)
        volume, turnover = [float_of(each) for each in units], [float_of(each) for each in spent]
        price = np.where(empty, price, close)
        yield [
            synthetic_bar("DEMO", name, start_us, start_us // DAY_US, 0, float(price[i]), offset)
            if empty[i]
            else Bar(
                broker="DEMO", symbol=name, bucket_start_us=start_us,
                trading_date=start_us // DAY_US, session=0,
                open=float(open_[i]), high=float(high[i]), low=float(low[i]), close=float(close[i]),
                volume=volume[i], turnover=turnover[i], tick_count=int(count[i]),
                open_time_us=start_us + 1000 * int(into_ms[0, i]),
                close_time_us=start_us + 1000 * int(into_ms[1, i]),
                synthetic=False, revision=0,
                first_offset=int(first[i]), last_offset=offset - SERIES + i, close_offset=offset,
                volume_units=unrounded(units[i], volume[i]) if revisable else None,
                turnover_units=unrounded(spent[i], turnover[i]) if revisable else None,
            )
            for i, name in enumerate(names)
        ]  # fmt: skip


def _sums(
    rng: np.random.Generator, count: NDArray[np.int64], price: NDArray[np.float64]
) -> tuple[list[int], list[int]]:
    """Exact sums of so many sizes of two places, and of what they cost at about that price.

    Those of more than 64 ticks are multiples.
    """
    drawn = np.clip(count, 1, 64)
    sizes = np.round(rng.exponential(3.0, int(drawn.sum())), 2)
    starts = np.cumsum(drawn) - drawn
    prices = np.round(np.repeat(price, drawn) + rng.normal(0, 2e-4, len(sizes)), 5)
    volumes, paid = group_units(sizes, starts), group_units(products(prices, sizes), starts)
    times = [max(1, n // 64) for n in count.tolist()]
    return [a * n for a, n in zip(volumes, times, strict=True)], [
        a * n for a, n in zip(paid, times, strict=True)
    ]


def batch_bytes(rows: Sequence[Row]) -> int:
    """Bytes of the record batch the producer of a partition makes of ``rows``, uncompressed."""
    batch = BatchBuilder(1 << 20, 0, is_transactional=1)
    for row in rows:
        if batch.append(timestamp=None, key=row.key, value=row.value, headers=row.headers) is None:
            raise ValueError("a flush of the benchmark must fit into one batch")
    batch.close()
    return int(batch.size())


def live_bytes(db: Any) -> int:
    """Bytes of the files RocksDB holds rows in."""
    return sum(int(file["size"]) for file in db.live_files())


def measure(rows: str, period: Period, directory: Path, *, revisable: bool = False) -> Size:
    """Write bars of one period as a worker does, and weigh what became of them."""
    app: Any = make_app(Settings(data_dir=directory), {})
    (name,) = tables.finals.declare(app, {period: f"rate_{period.timeframe}_final"}).values()
    store: Any = app.tables[name].data
    partition = FinalsPartition(store, 0)
    bars = body = kafka = alone = 0
    offset = 0
    for some in buckets(period, DAYS_OF[period.timeframe], revisable=revisable):
        made = bar_rows(some)
        partition.write([(row.key or b"", row.value) for row in made], offset)
        offset += len(made) + 1
        bars += len(made)
        body += sum(len(row.key or b"") + len(row.value or b"") for row in made)
        kafka += batch_bytes(made) + MARKER_BYTES
        alone += batch_bytes(made[:1]) + MARKER_BYTES
    db = store._db_for_partition(0)
    db.flush()
    as_written = live_bytes(db)
    db.compact_range(None, None)
    compacted = live_bytes(db)
    written = bars // SERIES
    db.close()
    return Size(
        rows, period, bars, body / bars, compacted / bars, as_written / bars,
        kafka / bars, alone / written,
    )  # fmt: skip


def heartbeat_bytes() -> float:
    """Bytes a heartbeat takes in ``hb_1m``, all series of a minute in one round."""
    rows = []
    for name in symbols():
        beat = HeartbeatRecord("DEMO", name, START_US, 10**9, START_US + MINUTE_US, "planner")
        rows.append(Row(beat.key, encode(beat)))
    return (batch_bytes(rows) + MARKER_BYTES) / len(rows)


def bars_a_year(period: Period) -> int:
    """Of a series that is always open."""
    return 365 if period == DAY else 365 * DAY_US // period.size_us


def report(sizes: Sequence[Size]) -> str:
    """The tables of docs/sizes.md."""
    lines = [
        "| rows | key and value | disk | disk, not compacted | Kafka | Kafka, alone in a flush |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {s.rows} | {s.body:.0f} | {s.disk:.0f} | {s.disk_as_written:.0f} | {s.kafka:.0f} | "
        f"{s.kafka_alone:.0f} |"
        for s in sizes
    ]
    lines.append(f"| heartbeat | | | | {heartbeat_bytes():.0f} | |")
    lines += [
        "",
        "| timeframe | bars/year | disk MB/year | Kafka MB/year | days kept | disk MB | Kafka MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    totals = np.zeros(4)
    for size in (s for s in sizes if s.rows == str(s.period)):
        bars = bars_a_year(size.period)
        days = kept_days(Settings(), size.period)
        disk, kafka = bars * size.disk / 1e6, bars * size.kafka / 1e6
        row = [disk, kafka, disk * days / 365, kafka * days / 365]
        totals += row
        lines.append(
            f"| {size.period} | {bars:,} | {row[0]:.2f} | {row[1]:.2f} | {days:,.0f} | "
            f"{row[2]:.2f} | {row[3]:.2f} |"
        )
    lines.append(
        f"| all | | {totals[0]:.2f} | {totals[1]:.2f} | | {totals[2]:.2f} | {totals[3]:.2f} |"
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--json", action="store_true", help="one object a kind of rows")
    shape = parser.parse_args()
    sizes = []
    with tempfile.TemporaryDirectory() as directory:
        for timeframe in DAYS_OF:
            place = Path(directory) / timeframe
            sizes.append(measure(timeframe, Period.parse(timeframe), place))
        place = Path(directory) / "revise"
        sizes.append(measure("1m, `revise`", Period.minutes(1), place, revisable=True))
    if shape.json:
        for size in sizes:
            print(json.dumps({**size.__dict__, "period": str(size.period)}))
        return
    print(report(sizes))


if __name__ == "__main__":
    main()
