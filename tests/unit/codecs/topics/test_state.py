"""Rows of a series that an earlier version wrote are read."""

from __future__ import annotations

import io

import fastavro
import pytest

from barstream.codecs.avro.body import encode, load_schema, without_logical_types
from barstream.codecs.topics.row_version import ROW_VERSION
from barstream.codecs.topics.state import decode_series, encode_series, restore_series
from barstream.codecs.topics.state_rows import FEW, encode_series_rows
from barstream.model.bar import PartialBar
from barstream.model.exact_sum import units_of
from barstream.rules.series import NEVER_US, PartitionState, Rules


def test_an_open_bar_from_before_there_was_turnover_goes_on_without() -> None:
    """What its first ticks cost is known to nobody; a sum of the others would be wrong."""
    schema = without_logical_types(load_schema("series_state"))
    *fields, bars = schema["fields"]
    items = [field for field in bars["type"]["items"]["fields"] if field["name"] != "turnover"]
    item = {**bars["type"]["items"], "fields": items}
    before = {**schema, "fields": [*fields, {**bars, "type": {**bars["type"], "items": item}}]}
    state = PartitionState(Rules())
    series = state.add("B", "X")
    state.closed_until_us[series.slot], state.watermark_us[series.slot] = 0, 3
    series.open_bars[0] = PartialBar.of_tick(0, 0, 0, 3, -2.0, 1.5, 4)
    series.first_tick_us = 3
    row = decode_series(encode_series(state, series))
    assert row["row_version"] == ROW_VERSION
    for version in (2, 1):
        written = io.BytesIO()
        fastavro.schemaless_writer(written, before, row | {"row_version": b"\1\2"})
        value = written.getvalue()[2 if version == 1 else 0 :]
        again = PartitionState(Rules())
        (bar,) = restore_series(again, series.key, value).open_bars.values()
        assert (bar.volume_units, bar.turnover_units) == (units_of(1.5), None)
        bar.merge(PartialBar.of_tick(0, 0, 0, 4, 2.0, 1.0, 5))
        final = bar.to_bar("B", "X", 9, revisable=True)
        assert (final.volume, final.turnover, final.vwap, final.turnover_units) == (
            2.5, None, None, None
        )  # fmt: skip
        # and comes back so, with the rest of what is known
        for rows in (
            encode_series(again, again.series[0]),
            *encode_series_rows(again, again.series * FEW),
        ):
            (bar,) = restore_series(PartitionState(Rules()), series.key, rows).open_bars.values()
            assert (bar.volume_units, bar.turnover_units) == (units_of(2.5), None)


@pytest.mark.parametrize("price", [-3.7, 0.0, 1e308])
def test_the_turnover_of_an_open_bar_comes_back(price: float) -> None:
    state = PartitionState(Rules())
    series = state.add("B", "X")
    state.closed_until_us[series.slot], state.watermark_us[series.slot] = 0, 3
    series.open_bars[0] = PartialBar.of_tick(0, 0, 0, 3, price, 1.1, 4)
    series.first_tick_us = 3
    for value in (encode_series(state, series), *encode_series_rows(state, [series] * FEW)):
        (bar,) = restore_series(PartitionState(Rules()), series.key, value).open_bars.values()
        assert bar == series.open_bars[0]


@pytest.mark.parametrize("turnover", [b"\x84\x32", b"\x04\x32\x02", b"\x04", b"\xff\xff\x01"])
def test_a_turnover_that_no_worker_writes_is_refused(turnover: bytes) -> None:
    state = PartitionState(Rules())
    series = state.add("B", "X")
    state.closed_until_us[series.slot], state.watermark_us[series.slot] = 0, 3
    series.open_bars[0] = PartialBar.of_tick(0, 0, 0, 3, 1.0, 1.0, 4)
    series.first_tick_us = 3
    row = decode_series(encode_series(state, series))
    (bar,) = row["open_bars"]
    value = encode("series_state", row | {"open_bars": [bar | {"turnover": turnover}]})
    with pytest.raises(ValueError, match="the turnover of the bar at 0 is a sum of floats"):
        restore_series(PartitionState(Rules()), series.key, value)


def test_a_row_from_before_there_was_a_filled_date_is_read() -> None:
    schema = without_logical_types(load_schema("series_state"))
    names = [field["name"] for field in schema["fields"]]
    before = list(schema["fields"])
    # nor had rows a version then
    assert names[0] == "row_version"
    before[names.index("filled_date")] = {"name": "fill_from", "type": "long"}
    row = {
        "broker": "B", "symbol": "X", "closed_until": 120, "watermark": 130,
        "previous_close": 1.5, "fill_from": NEVER_US, "first_tick": 60,
        "last_trading_date": 19_675, "since_timely": 3, "open_bars": [],
    }  # fmt: skip
    # woken after what is closed: nothing is to be filled before the tick that did it
    for woken_us, filled_date in ((NEVER_US, 19_675), (60, 19_675), (180, 0)):
        written = io.BytesIO()
        fastavro.schemaless_writer(
            written, {**schema, "fields": before[1:]}, row | {"fill_from": woken_us}
        )
        expected = {name: row[name] for name in names if name in row}
        found = decode_series(written.getvalue())
        assert found == expected | {"filled_date": filled_date, "row_version": ROW_VERSION}
    with pytest.raises(ValueError, match="no body of series_state"):
        decode_series(written.getvalue()[:-2])
