"""Finals of one timeframe in one partition: the newest version of each, and what came before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl

from barstream.kafka.cluster import Cluster
from barstream.log.compaction import compacted, since_tombstones
from barstream.log.finals import SCHEMA, frame_of
from barstream.log.selection import Selection
from barstream.log.snapshot import Span, chunks
from barstream.model.bar_fields import EXACT_FIELDS
from barstream.model.period import MINUTE
from barstream.verify.findings import Finding, Findings
from barstream.verify.series_number import SeriesNumbers

_STAMP: Final = "%Y-%m-%dT%H:%M:%SZ"
#: Columns beside `FIELDS` and `PLACE`: what the key says, and the number of the series.
_OF_KEY: Final = ("key_broker", "key_symbol", "bucket_us")
_NO_BITS: Final = -1


@dataclass(slots=True)
class Published:
    """What a partition of a topic of finals says; of a bar that was withdrawn, what came after.

    Attributes:
        bars: a row a bar, ascending by ``series`` and ``bucket_us`` (both as the key says them);
            ``first_close`` is the close offset of its version of revision 0, null where that
            is gone, ``first_synthetic`` says whether it had ticks, ``made_late`` whether a late
            one made it: it closed right after its last one; ``first_appended_us`` is when it was
            written, ``first_volume`` its volume, ``first_volume_exact`` that unrounded; likewise
            of its turnover.
        before: of each series the last bar before the range, and the last one with ticks.
        unreadable: keys (series, bucket) whose newest record is no bar.
        withdrawn: keys whose newest record is a tombstone, with the close offset of the bar it
            took; None: that is not in the log any more.
        begin: first offset the topic still has; above 0 something may have been deleted.
        end: offset up to which it was read.
    """

    bars: pl.DataFrame
    before: dict[int, dict[str, Any]]
    before_real: dict[int, dict[str, Any]]
    unreadable: set[tuple[int, int]] = field(default_factory=set)
    withdrawn: dict[tuple[int, int], int | None] = field(default_factory=dict)
    begin: int = 0
    end: int = 0


async def read_published(
    cluster: Cluster,
    topic: str,
    partition: int,
    span: Span,
    wanted: Selection,
    series: SeriesNumbers,
    findings: Findings,
    timeframe: str,
) -> Published:
    """Read and check what was written: keys, versions.

    Args:
        cluster: where the topic is.
        topic: of finals.
        partition: its number.
        span: the offsets to read.
        wanted: series and time; bars before it are read for the last of each series.
        series: numbers the series.
        findings: takes what is wrong with keys and versions.
        timeframe: of the bars.
    """
    reading = PublishedReading(wanted)
    upto = Selection(wanted.broker, wanted.symbol, None, wanted.to_us)
    async for chunk in chunks(cluster, topic, {partition: span}):
        if at := upto.positions(chunk.keys):
            reading.add(frame_of(chunk, at))
    return reading.published(span, partition, series, findings, timeframe)


class PublishedReading:
    """Records of a topic of finals, gathered.

    Args:
        wanted: bars before its time are kept only as far as they are the last of a series.
    """

    def __init__(self, wanted: Selection) -> None:
        self._from_us = wanted.from_us
        self._parts: list[pl.DataFrame] = []
        self._earlier: list[pl.DataFrame] = []

    def add(self, found: pl.DataFrame) -> None:
        """Take the next records, columns as `barstream.log.finals.versions` gives them."""
        found = _with_keys(found)
        if self._from_us is not None:
            is_before = pl.col("bucket_us") < self._from_us
            self._earlier = _last_ones([*self._earlier, found.filter(is_before)])
            found = found.filter(~is_before | pl.col("bucket_us").is_null())
        self._parts.append(found)

    def published(
        self,
        span: Span,
        partition: int,
        series: SeriesNumbers,
        findings: Findings,
        timeframe: str,
    ) -> Published:
        """Check keys and versions; what stands."""
        parts, earlier = self._parts, self._earlier
        versions = pl.concat(parts) if parts else _with_keys(pl.DataFrame(schema=SCHEMA))
        _check_keys(versions, partition, timeframe, findings)
        versions = versions.filter(pl.col("bucket_us").is_not_null())
        numbers = _numbers(versions, series)
        versions = versions.with_columns(series=pl.Series(numbers, dtype=pl.Int64))
        _check_versions(versions, partition, timeframe, findings)
        first = (
            since_tombstones(versions)
            .filter((pl.col("kind") == "bar") & (pl.col("revision") == 0))
            .unique("key", keep="first", maintain_order=True)
            .select(
                "key",
                *(
                    pl.col(name).alias(f"first_{name}")
                    for field in EXACT_FIELDS
                    for name in (field.rounded, field.name)
                ),
                first_close="close_offset",
                first_synthetic="synthetic",
                made_late=pl.col("last_offset") + 1 == pl.col("close_offset"),
                first_appended_us="appended_us",
            )
        )
        last = compacted(versions)
        taken = compacted(versions.filter(pl.col("kind") == "bar"))
        withdrawn = (
            last.filter(pl.col("kind") == "tombstone")
            .select("key", "series", "bucket_us")
            .join(taken.select("key", "close_offset"), on="key", how="left")
            .drop("key")
        )
        newest = (
            last.filter(pl.col("kind") != "tombstone")
            .join(first, on="key", how="left")
            .sort("series", "bucket_us")
        )
        unreadable = newest.filter(pl.col("kind") == "unreadable")
        bars = newest.filter(pl.col("kind") == "bar")
        if timeframe == MINUTE.timeframe:  # longer ones are held to the closes of their minutes
            _check_closed(bars, partition, timeframe, findings)
        bars = bars.drop("key_broker", "key_symbol", "kind")
        return Published(
            bars,
            _latest(earlier, series, real=False),
            _latest(earlier, series, real=True),
            set(unreadable.select("series", "bucket_us").iter_rows()),
            {(number, at): close for number, at, close in withdrawn.iter_rows()},
            span.begin,
            span.end,
        )


def _latest(
    earlier: list[pl.DataFrame], series: SeriesNumbers, *, real: bool
) -> dict[int, dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for frame in earlier:
        for row in frame.sort("bucket_us").iter_rows(named=True):
            if not (real and row["synthetic"]):
                found[series.number((row["key_broker"], row["key_symbol"]))] = row
    return found


def _with_keys(found: pl.DataFrame) -> pl.DataFrame:
    text = pl.col("key").cast(pl.String, strict=False)
    parts = text.str.split_exact("\0", 2).struct
    stamp = parts.field("field_2")
    return found.with_columns(
        key_broker=parts.field("field_0"),
        key_symbol=parts.field("field_1"),
        bucket_us=stamp.str.to_datetime(_STAMP, time_unit="us", strict=False).cast(pl.Int64),
    )


def _last_ones(frames: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """Of each series the last bar and the last one with ticks, newest versions."""
    whole = since_tombstones(pl.concat(frames))
    whole = whole.filter(pl.col("kind") == "bar").sort("bucket_us", "offset")
    names = ["key_broker", "key_symbol"]
    last = whole.unique(names, keep="last")
    real = whole.filter(~pl.col("synthetic")).unique(names, keep="last")
    return [pl.concat([last, real]).unique(["key", "offset"])]


def _numbers(versions: pl.DataFrame, series: SeriesNumbers) -> list[int]:
    pairs = versions.select("key_broker", "key_symbol")
    distinct = pairs.unique(maintain_order=True)
    known = distinct.with_columns(
        series=pl.Series(series.numbers(distinct.iter_rows()), dtype=pl.Int64)
    )
    joined = pairs.join(known, on=["key_broker", "key_symbol"], how="left", maintain_order="left")
    return joined["series"].to_list()


def _check_keys(versions: pl.DataFrame, partition: int, timeframe: str, findings: Findings) -> None:
    """Key equals the value's series and bucket."""
    stamp = pl.from_epoch("bucket_us", time_unit="us").dt.strftime(_STAMP)
    spelled = pl.concat_str([pl.col("key_broker"), pl.col("key_symbol"), stamp], separator="\0")
    odd = versions.filter(
        pl.col("bucket_us").is_null() | (spelled.cast(pl.Binary) != pl.col("key"))
    )
    for row in odd.iter_rows(named=True):
        findings.add(
            Finding(
                "difference", "key", partition,
                f"a key broker NUL symbol NUL bucket_start is required, found {row['key']!r} at "
                f"offset {row['offset']} of the finals",
                timeframe=timeframe, published=repr(row["key"]),
            )
        )  # fmt: skip
    newest = compacted(versions)
    pairs = {"broker": "key_broker", "symbol": "key_symbol", "bucket_start": "bucket_us"}
    wrong = newest.filter(
        (pl.col("kind") == "bar")
        & pl.any_horizontal(pl.col(name) != pl.col(of_key) for name, of_key in pairs.items())
    )
    for row in wrong.iter_rows(named=True):
        for name, of_key in pairs.items():
            if row[name] != row[of_key]:
                findings.add(
                    Finding(
                        "difference", "field", partition,
                        f"{name} must be that of the record's key",
                        row["key_broker"], row["key_symbol"], timeframe, row["bucket_us"],
                        None, name, row[of_key], row[name],
                    )
                )  # fmt: skip


def _check_versions(
    versions: pl.DataFrame, partition: int, timeframe: str, findings: Findings
) -> None:
    """A bar is written again byte for byte, or as a later revision.

    What broke this is superseded once a later revision stands: that one is held to the ticks.
    """
    twice = versions.filter(pl.col("key").is_duplicated())
    stands = dict(compacted(twice).select("key", "revision").iter_rows())
    last: dict[bytes, dict[str, Any]] = {}
    columns = [*_OF_KEY, "key", "kind", "value", "offset", "revision"]
    for row in twice.select(columns).iter_rows(named=True):
        before = last.get(row["key"])
        last[row["key"]] = row
        if before is None or before["kind"] != "bar" or row["kind"] != "bar":
            continue
        if row["value"] != before["value"] and row["revision"] <= before["revision"]:
            superseded = (stands[row["key"]] or 0) > before["revision"]
            findings.add(
                Finding(
                    "superseded" if superseded else "difference", "duplicate", partition,
                    f"a final is written again byte for byte or as a later revision; found "
                    f"revision {row['revision']} at offset {row['offset']} after "
                    f"{before['revision']} at {before['offset']}, with other values",
                    row["key_broker"], row["key_symbol"], timeframe, row["bucket_us"],
                    field="revision", expected=None, published=row["revision"],
                )
            )  # fmt: skip
    unreadable = compacted(versions).filter(pl.col("kind") == "unreadable")
    for row in unreadable.iter_rows(named=True):
        findings.add(
            Finding(
                "difference", "unreadable", partition,
                f"a body of bar.avsc is required, found {len(row['value'])} other bytes at "
                f"offset {row['offset']}",
                row["key_broker"], row["key_symbol"], timeframe, row["bucket_us"],
            )
        )  # fmt: skip


def _check_closed(bars: pl.DataFrame, partition: int, timeframe: str, findings: Findings) -> None:
    """A bar that does not say where it was closed is a live one."""
    for row in bars.filter(pl.col("close_offset").is_null()).iter_rows(named=True):
        findings.add(
            Finding(
                "difference", "field", partition,
                f"a final states its close offset; found none at offset {row['offset']}, as a live "
                "bar has it",
                row["key_broker"], row["key_symbol"], timeframe, row["bucket_us"],
                field="close_offset",
            )
        )  # fmt: skip


def longs(frame: pl.DataFrame, name: str, absent: int = -1) -> np.ndarray[Any, Any]:
    """A column of whole numbers as an array, shape (n,); ``absent`` where it is null."""
    return frame[name].cast(pl.Int64).fill_null(absent).to_numpy()


def float_bits(frame: pl.DataFrame, name: str) -> np.ndarray[Any, Any]:
    """A column of floats as their 64 bits, shape (n,): equal only where they are identical.

    A null is one of the many that are no number, and not the one that arithmetic gives.
    """
    column = frame[name]
    bits = np.ascontiguousarray(column.fill_null(0.0).to_numpy()).view(np.int64)
    return np.where(column.is_null().to_numpy(), _NO_BITS, bits)
