"""The recorded ticks of three feeds, as files to load and as what polars reads in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from barstream.model.time import us_from_iso
from tests.functional.tick_records import MINUTE_US
from tests.offline import bars_of
from tests.pipeline import Pipeline, Record, WorkerProcess

Session = dict[str, Any]


@dataclass(frozen=True)
class RecordedFile:
    """A file of real ticks, and how `ticks load` is told what is in it."""

    name: str
    broker: str
    symbol: str
    layout: tuple[str, ...]
    schedule: tuple[str, str]
    """First and last trading date loaded from the calendar."""

    def ticks(self, directory: Path) -> pl.DataFrame:
        """time_us, price, size, in the order of the file; read without barstream."""
        return _READERS[self.name](directory / self.name)

    def load(self, made: Pipeline, directory: Path) -> dict[str, Any]:
        """Run `ticks load`; what it says of itself."""
        said = made.run(
            "ticks", "load", str(directory / self.name), "--broker", self.broker,
            "--symbol", self.symbol, *self.layout, "--json",
        )  # fmt: skip
        result: dict[str, Any] = json.loads(said.splitlines()[-1])
        return result

    def load_schedule(self, made: Pipeline) -> None:
        """The FX week for the dates of the file."""
        first, last = self.schedule
        made.run(
            "schedule", "load", "--calendar", "FX", "--broker", self.broker,
            "--symbol", self.symbol, "--from", first, "--to", last, "--yes",
        )  # fmt: skip


def _truefx(path: Path) -> pl.DataFrame:
    return pl.read_csv(path).select(
        time_us=_us(pl.col("timestamp").str.to_datetime(time_unit="us", time_zone="UTC")),
        price=(pl.col("bid") + pl.col("ask")) / 2,
        size=pl.lit(0.0),
    )


def _histdata(path: Path) -> pl.DataFrame:
    """Eastern standard time all year: five hours behind UTC, which the file does not say."""
    frame = pl.read_csv(path, has_header=False, new_columns=["time", "bid", "ask", "volume"])
    written = pl.col("time").str.to_datetime("%Y%m%d %H%M%S%3f", time_unit="us")
    return frame.select(
        time_us=_us(written) + 5 * 60 * MINUTE_US,
        price=(pl.col("bid") + pl.col("ask")) / 2,
        size=pl.col("volume").cast(pl.Float64),
    )


def _minute_bars(path: Path) -> pl.DataFrame:
    return pl.read_csv(path).select(
        time_us=_us(pl.col("time").str.to_datetime(time_unit="us", time_zone="UTC")),
        price=pl.col("price"),
        size=pl.col("size"),
    )


def _us(column: pl.Expr) -> pl.Expr:
    return column.dt.epoch("us")


TRUEFX = RecordedFile(
    "truefx-usdjpy-ticks.csv", "TFX", "USDJPY",
    ("--map", "time=timestamp", "--map", "bid=bid", "--map", "ask=ask"),
    ("2012-12-20", "2013-01-20"),
)  # fmt: skip
HISTDATA = RecordedFile(
    "histdata-eurusd-20200101-ticks.csv", "HISTDATA", "EURUSD",
    (
        "--no-header", "--columns", "at,bid,ask,volume", "--map", "time=at", "--map", "bid=bid",
        "--map", "ask=ask", "--map", "size=volume", "--timezone", "-05:00",
        "--time-format", "%Y%m%d %H%M%S%3f",
    ),
    ("2019-12-20", "2020-01-20"),
)  # fmt: skip
MONTH = RecordedFile(
    "usdjpy-m1-2013-as-ticks.csv.gz", "FXCM", "USDJPY",
    ("--map", "time=time", "--map", "price=price", "--map", "size=size"),
    ("2013-01-20", "2013-03-15"),
)  # fmt: skip
FILES = (TRUEFX, HISTDATA, MONTH)
_READERS = {
    TRUEFX.name: _truefx,
    HISTDATA.name: _histdata,
    MONTH.name: _minute_bars,
}


@dataclass
class Recorded:
    """All three files, loaded while a worker ran; it still runs."""

    made: Pipeline
    worker: WorkerProcess
    directory: Path
    began_us: int
    said: dict[str, dict[str, Any]]
    _sessions: dict[RecordedFile, list[Session]] = field(default_factory=dict)

    @cached_property
    def finals(self) -> list[Record]:
        """The finals topic."""
        return self.made.read(self.made.names.final_1m)

    @cached_property
    def tick_records(self) -> list[Record]:
        """The tick topic."""
        return self.made.read(self.made.names.ticks)

    def sessions(self, file: RecordedFile) -> list[Session]:
        """What `schedule show` says is in force, with open and close in microseconds."""
        if file not in self._sessions:
            self._sessions[file] = sessions_of(self.made, file.broker, file.symbol)
        return self._sessions[file]

    def ticks(self, file: RecordedFile) -> pl.DataFrame:
        """The ticks of a file with the offsets they got: the loader goes by event time."""
        offsets = [
            r.offset for r in self.tick_records if r.key == f"{file.broker}\0{file.symbol}".encode()
        ]
        frame = file.ticks(self.directory).sort("time_us", maintain_order=True)
        return frame.with_columns(offset=pl.Series(offsets, dtype=pl.Int64))

    def expected(self, file: RecordedFile) -> pl.DataFrame:
        """Every bar of a file."""
        pairs = [(row["open_us"], row["close_us"]) for row in self.sessions(file)]
        return bars_of(self.ticks(file), pairs)


def sessions_of(made: Pipeline, broker: str, symbol: str) -> list[Session]:
    """Sessions in force as `schedule show --json` prints them, times also in microseconds."""
    lines = made.run("schedule", "show", broker, symbol, "--json").splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    return [
        row | {"open_us": us_from_iso(row["open"]), "close_us": us_from_iso(row["close"])}
        for row in rows
    ]


def inside(ticks: pl.DataFrame, sessions: Iterable[Session]) -> pl.DataFrame:
    """The ticks with open <= time < close of a session."""
    of_some = [
        pl.col("time_us").is_between(row["open_us"], row["close_us"], closed="left")
        for row in sessions
    ]
    return ticks.filter(pl.any_horizontal(of_some))
