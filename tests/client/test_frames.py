"""Frames: the columns of the model, their values exactly, whatever they are made into."""

from __future__ import annotations

import builtins
import importlib.util
import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from barstream import Rate
from barstream.client import frame as frames
from barstream.client import time_bucket
from barstream.errors import MissingPieceError
from barstream.model.time import us_from_datetime
from tests.serve.memory_reads import make_bar

from .conftest import MINUTES, TEN_US, Read, Service

NOON = datetime(2024, 3, 4, 10, tzinfo=UTC)
KINDS = {"text": "string", "time": "timestamp[us, tz=UTC]", "date": "date32[day]", "flag": "bool"}


def framed(*arguments: Any, **options: Any) -> Read:
    return lambda bars: bars.to_frame(*arguments, **options)


def test_the_columns_are_those_the_model_declares_and_whether_a_bar_is_final() -> None:
    declared = {column.name: column.kind for column in Rate.columns}
    assert frames.SCHEMA.names == [*declared, "final"]
    for name, kind in declared.items():
        of_number = {"int64", "double"} if kind == "number" else {KINDS[kind]}
        assert str(frames.SCHEMA.field(name).type) in of_number


def test_a_frame_holds_what_a_list_holds_inside_and_outside(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_bucket, "_PAGE", 4)
    bars = service.inside(lambda bars: bars.to_list([]))
    for way in service.ways():
        table = way(framed([]))
        assert table.num_rows == len(bars) == 1 + sum(MINUTES.values())
        for row, bar in zip(table.to_pylist(), bars, strict=True):
            for name in ("broker", "symbol", "open", "high", "low", "close", "volume", "session"):
                assert row[name] == getattr(bar, name)
            for name in ("tick_count", "synthetic", "revision", "final", "close_offset"):
                assert row[name] == getattr(bar, name)
            assert us_from_datetime(row["bucket_start"]) == bar.bucket_start_us
            opened = row["open_time"]
            assert (None if opened is None else us_from_datetime(opened)) == bar.open_time_us
            assert row["trading_date"] == date(2024, 3, 4)
        assert way(framed(["FX", "S"], limit=3, descending=True)).num_rows == 3


def test_nothing_is_a_frame_with_all_columns(service: Service) -> None:
    for into in ("arrow", "polars", "pandas"):
        found = service.inside(framed(["NOSUCH"], into=into))
        assert len(found) == 0
        assert list(getattr(found, "column_names", getattr(found, "columns", ()))) == [
            *(column.name for column in Rate.columns), "final",
        ]  # fmt: skip


def test_polars_has_the_same_values(service: Service) -> None:
    frame = service.outside(framed(["FX", "S"], into="polars"))
    assert isinstance(frame, pl.DataFrame)
    assert frame["bucket_start"].dtype == pl.Datetime("us", "UTC")
    assert frame.row(0, named=True)["bucket_start"] == NOON
    assert frame["close"].to_list() == [
        bar.close for bar in service.inside(lambda bars: bars.to_list(["FX", "S"]))
    ]


def test_pandas_keeps_offsets_whole_and_missing_ones_missing(service: Service) -> None:
    # as floats, offsets beyond 2**53 would be rounded
    offset = 2**53 + 1
    real = make_bar(TEN_US, symbol="T/€").replace(close_offset=offset)
    service.workers[0].reads.add(real, make_bar(TEN_US + 60_000_000, symbol="T/€", synthetic=True))
    frame = service.outside(framed(["FX", "T/€"], into="pandas"))
    assert int(frame["close_offset"].iloc[0]) == offset
    assert frame["close_offset"].isna().tolist() == [False, False, True]
    assert frame["first_offset"].isna().tolist() == [False, True, False]
    assert frame["open_time"].isna().tolist() == [False, True, False]
    assert frame["bucket_start"].iloc[0].to_pydatetime() == NOON
    assert math.isfinite(frame["close"].sum())


@pytest.mark.parametrize("into", ["polars", "pandas"])
def test_a_library_that_is_missing_is_named_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, service: Service, into: str
) -> None:
    found: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(frames, "find_spec", lambda name: None if name == into else found(name))
    imported = builtins.__import__

    def refusing(name: str, *arguments: Any, **options: Any) -> Any:
        if name == into:
            raise ModuleNotFoundError(name)
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refusing)
    with pytest.raises(MissingPieceError, match=f"pip install {into}"):
        service.inside(framed([], into=into))
    assert service.inside(framed([])).num_rows


def test_another_kind_of_frame_is_refused(service: Service) -> None:
    with pytest.raises(ValueError, match="arrow, polars or pandas"):
        service.inside(framed([], into="csv"))
