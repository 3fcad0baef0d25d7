"""Ticks of the packaged schema: what is accepted, what is refused and why."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barstream.codecs.avro.body import encode
from barstream.codecs.ticks.decoder import TickColumns, TickDecoder
from barstream.codecs.ticks.encoder import encode_ticks, tick_keys
from barstream.config.sections import TickSettings
from barstream.model.rejection import Reason

NOW_US = 1_700_000_000_000_000


def tick(**change: Any) -> bytes:
    row = {"broker": "A", "symbol": "X", "time": NOW_US, "price": 1.5, "size": 2.0}
    return encode("tick", row | change)


def decode(values: list[bytes | None], now_us: int = NOW_US, **settings: Any) -> TickColumns:
    decoder = TickDecoder(TickSettings(**settings), max_future_skew_us=5_000_000)
    return decoder.decode(values, np.full(len(values), now_us))


def reasons(columns: TickColumns) -> dict[int, Reason]:
    return {rejected.position: rejected.reason for rejected in columns.rejected}


def test_ticks_become_columns() -> None:
    columns = decode([tick(), tick(symbol="Y", price=-0.25, size=0.0, time=NOW_US - 1), tick()])
    assert columns.names == [("A", "X"), ("A", "Y")]
    assert columns.series.tolist() == [0, 1, 0]
    assert columns.time_us.tolist() == [NOW_US, NOW_US - 1, NOW_US]
    assert columns.price.tolist() == [1.5, -0.25, 1.5]
    assert columns.size.tolist() == [2.0, 0.0, 2.0]
    assert columns.index is None
    assert columns.rejected == []
    assert columns.series.dtype == np.int32


def test_no_records_make_no_ticks() -> None:
    columns = decode([])
    assert len(columns) == 0
    assert columns.names == []
    assert columns.rejected == []


def test_spellings_of_one_series_share_a_code() -> None:
    columns = decode([tick(symbol=" eur ", broker="a"), tick(symbol="EUR"), tick(symbol="Eur")])
    assert columns.names == [("A", "EUR")]
    assert columns.series.tolist() == [0, 0, 0]


def test_names_of_rejected_records_alone_are_not_listed() -> None:
    columns = decode(
        [tick(symbol="N", price=math.nan), tick(), tick(symbol="F", time=NOW_US + 10**9)]
    )
    assert columns.names == [("A", "X")]
    assert columns.series.tolist() == [0]
    assert columns.index is not None
    assert columns.index.tolist() == [1]


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"\xff" * 30,
        tick()[:-1],
        tick() + b"\0",
        b"\x03" + tick()[1:],  # a negative length
        b"\xfe\xff\xff\xff\x0f" + tick(),  # a length of gigabytes
        b"\x02\xff" + tick()[2:],  # a text that is no UTF-8
        encode("heartbeat", dict.fromkeys(("broker", "symbol", "source"), "A")
               | dict.fromkeys(("bucket_start", "barrier", "sent_at"), NOW_US)),
    ],
)  # fmt: skip
def test_what_is_no_record_of_the_schema_is_undecodable(value: bytes | None) -> None:
    columns = decode([tick(), value, tick()])
    assert reasons(columns) == {1: Reason.UNDECODABLE}
    assert columns.index is not None
    assert columns.index.tolist() == [0, 2]
    assert columns.price.tolist() == [1.5, 1.5]
    assert reasons(decode([value])) == {0: Reason.UNDECODABLE}


@pytest.mark.parametrize(
    "change",
    [
        {"price": math.nan},
        {"price": math.inf},
        {"price": -math.inf},
        {"size": math.nan},
        {"size": math.inf},
        {"size": -1.0},
        {"broker": ""},
        {"symbol": "  "},
        {"symbol": "a\0b"},
        {"time": -1},
        {"time": 253_402_300_800_000_000},
        {"time": 2**63 - 1},
        {"time": -(2**63)},
    ],
)
def test_values_no_tick_can_have_are_invalid(change: dict[str, Any]) -> None:
    columns = decode([tick(), tick(**change), tick()])
    assert reasons(columns) == {1: Reason.INVALID}
    assert columns.rejected[0].detail
    assert columns.names == [("A", "X")]


def test_a_tick_may_lie_after_its_record_by_the_skew_and_no_more() -> None:
    # record timestamp |-------- skew --------| event times: last accepted, first rejected
    columns = decode([tick(time=NOW_US + 5_000_000), tick(time=NOW_US + 5_000_001)])
    assert reasons(columns) == {1: Reason.FUTURE}


def test_a_record_without_a_timestamp_is_not_judged_by_it() -> None:
    assert not decode([tick()], now_us=-1000).rejected


@pytest.mark.parametrize("stamp_us", [NOW_US, NOW_US + 7_000_000, -1000])
def test_where_a_clock_is_given_the_earlier_of_it_and_the_timestamp_counts(stamp_us: int) -> None:
    # clock |-------- skew --------| last accepted, first rejected, whatever the timestamp
    limit_us = NOW_US - 1_000_000 + 5_000_000
    decoder = TickDecoder(TickSettings(), max_future_skew_us=5_000_000)
    columns = decoder.decode(
        [tick(time=limit_us), tick(time=limit_us + 1)], np.full(2, stamp_us), NOW_US - 1_000_000
    )
    assert reasons(columns) == {1: Reason.FUTURE}
    assert "clock" in columns.rejected[0].detail


def test_a_timestamp_that_is_earlier_than_the_clock_counts() -> None:
    decoder = TickDecoder(TickSettings(), max_future_skew_us=5_000_000)
    columns = decoder.decode(
        [tick(time=NOW_US + 5_000_001)], np.full(1, NOW_US), NOW_US + 60_000_000
    )
    assert "the record's timestamp" in columns.rejected[0].detail


def test_a_record_refused_twice_has_the_weightier_reason() -> None:
    columns = decode([tick(price=math.nan, time=NOW_US + 10**9)])
    assert reasons(columns) == {0: Reason.INVALID}


@pytest.mark.parametrize("share", [0.001, 0.5, 1.0])
def test_garbage_at_any_share_leaves_the_good_ticks_alone(share: float) -> None:
    rng = random.Random(7)
    prices = [float(number) for number in range(4000)]
    good = encode_ticks("A", "X", [NOW_US] * 4000, prices)
    values: list[bytes | None] = [
        rng.randbytes(rng.randrange(60)) if rng.random() < share else value for value in good
    ]
    kept = [at for at in range(4000) if values[at] is good[at]]
    columns = decode(values)
    assert columns.price.tolist() == [prices[at] for at in kept]
    assert len(columns.rejected) == 4000 - len(kept)
    assert {rejected.reason for rejected in columns.rejected} <= {Reason.UNDECODABLE}


def test_one_batch_may_hold_more_series_than_a_table_of_pairs_could() -> None:
    n = 3000
    brokers, symbols = [f"B{at}" for at in range(n)], [f"S{at}" for at in range(n)]
    columns = decode(list(encode_ticks(brokers, symbols, [NOW_US] * n, [1.0] * n)))
    names = [columns.names[code] for code in columns.series.tolist()]
    assert names == list(zip(brokers, symbols, strict=True))


def test_keys_are_broker_nul_symbol() -> None:
    assert tick_keys(["A", "A"], ["X", "Y"]) == [b"A\0X", b"A\0Y"]


def test_a_file_that_is_no_schema_is_refused_at_start(tmp_path: Path) -> None:
    path = tmp_path / "mine.avsc"
    path.write_text("{")
    with pytest.raises(Exception, match=r"mine\.avsc"):
        TickDecoder(TickSettings(schema_file=path))
