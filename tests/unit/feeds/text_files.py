"""What the tests of files share: a text written, and read as the command line reads it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from barstream.feeds.container import TickSource
from barstream.feeds.encoder import FLOATS
from barstream.feeds.files import FileTicks, read_ticks
from barstream.feeds.options import FileOptions, layout_of
from barstream.model.time import us_from_iso

NOW_US = us_from_iso("2026-01-05T00:00:00Z")


def written(tmp_path: Path, content: str | bytes, name: str = "ticks.csv") -> TickSource:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return TickSource(name, path)


def read(source: TickSource, **said: Any) -> FileTicks:
    """``said``: fields of `FileOptions`, and of the layout; ``feed`` is what a feed holds."""
    feed = said.pop("feed", FLOATS)
    own = {
        name: said.pop(name)
        for name in ("mapping", "preset", "header", "delimiter", "columns")
        if name in said
    }
    options = FileOptions(broker_default="X", symbol_by_name=True, settings=said, **own)
    return read_ticks(source, layout_of(source, options).layout, latest_us=NOW_US, feed=feed)


def times(*texts: str) -> list[int]:
    return [us_from_iso(text) for text in texts]


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("DAT.csv", data)
        archive.writestr("DAT.txt", "a report on gaps")
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return bytes(out.getvalue())


def parquet(data: bytes) -> bytes:
    out = io.BytesIO()
    pl.read_csv(data, try_parse_dates=True).write_parquet(out)
    return out.getvalue()


def json_lines(data: bytes) -> bytes:
    out = io.BytesIO()
    pl.read_csv(data).write_ndjson(out)
    return out.getvalue()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstd,
    "zip": zipped,
    "parquet": parquet,
    "json lines": json_lines,
    "json lines, gzip": lambda data: gzip.compress(json_lines(data)),
}
