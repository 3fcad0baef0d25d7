"""Rows of a series that an earlier version wrote are read."""

from __future__ import annotations

import io

import fastavro
import pytest

from barstream.codecs.avro.body import load_schema, without_logical_types
from barstream.codecs.topics.row_version import ROW_VERSION
from barstream.codecs.topics.state import decode_series
from barstream.rules.series import NEVER_US


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
