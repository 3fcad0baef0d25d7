"""A second of 60 is the first of the next minute, wherever a time is read from text."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from click import ClickException

from barstream.cli.context import Time
from barstream.codecs.ticks.decoder import TickDecoder
from barstream.codecs.topics.session import decode_session, row_from_fields
from barstream.config import TickSettings
from barstream.errors import BarstreamError
from barstream.feeds.files import read_ticks
from barstream.feeds.layout import FileLayout
from barstream.feeds.schedule_file import read_schedule_file
from barstream.model.key import BAR_KEY
from barstream.model.period import MINUTE
from barstream.model.time import (
    datetime_from_iso,
    iso_micros_from_us,
    us_from_datetime,
    us_from_iso,
)
from barstream.serve.parameters import bars_request

#: Text, and the time it is read as: what an epoch clock of POSIX says of that instant.
TIMES = {
    "2016-12-31T23:59:60Z": "2017-01-01T00:00:00.000000Z",
    "2016-12-31T23:59:60.250000Z": "2017-01-01T00:00:00.250000Z",
    "2016-12-31T18:59:60-05:00": "2017-01-01T00:00:00.000000Z",
    "2015-06-30 23:59:60.999999": "2015-07-01T00:00:00.999999Z",
    # 59.9996 as C prints it with three places
    "2024-03-04T10:29:60.000Z": "2024-03-04T10:30:00.000000Z",
}
NO_TIMES = (
    "2016-12-31T23:59:61Z",
    "2016-12-31T23:60:00Z",
    "2016-12-31T23:59:60:60Z",
    # of these Python makes the next midnight, from 3.14 on
    "2016-12-31T24:00:00Z",
    "2016-12-31 24:00",
    "20161231T24",
)

Reader = Callable[[str, Path], int]


def of_json(unit: Any) -> Reader:
    def read(text: str, _: Path) -> int:
        settings = TickSettings(format="json", time_unit=unit, size=None)
        value = orjson.dumps({"broker": "B", "symbol": "S", "price": 1, "time": text})
        found = TickDecoder(settings).decode([value], np.array([-1]))
        if found.rejected:
            raise ValueError(found.rejected[0].detail)
        return int(found.time_us[0])

    return read


def of_avro(text: str, folder: Path) -> int:
    schema = folder / "tick.avsc"
    names = ("broker", "symbol", "time")
    fields = [{"name": name, "type": "string"} for name in names]
    fields.append({"name": "price", "type": "double"})
    schema.write_bytes(orjson.dumps({"type": "record", "name": "T", "fields": fields}))
    body = b"".join(bytes([2 * len(word)]) + word.encode() for word in ("B", "S", text))
    settings = TickSettings(schema_file=schema, size=None)
    found = TickDecoder(settings).decode([body + np.float64(1).tobytes()], np.array([-1]))
    if found.rejected:
        raise ValueError(found.rejected[0].detail)
    return int(found.time_us[0])


def of_file(text: str, folder: Path) -> int:
    path = folder / "ticks.csv"
    path.write_text(f"time,price\n{text},1\n")
    layout = FileLayout({"time": "time", "price": "price"}, broker="B", symbol="S")
    return int(read_ticks(path, layout).time_us[0])


def hours(text: str) -> dict[str, Any]:
    """A session that opens then: it lasts days at most, and its date is near."""
    close = min(day for day in ("2015-07-02", "2017-01-02", "2024-03-05") if day > text)
    names = {"broker": "B", "symbol": "S", "session": 0}
    return names | {"trading_date": close, "open": text, "close": close}


def of_row(text: str, _: Path) -> int:
    return row_from_fields(hours(text)).open_us


def of_json_row(text: str, _: Path) -> int:
    return decode_session(orjson.dumps(hours(text))).open_us


def of_schedule_file(text: str, folder: Path) -> int:
    path = folder / "schedule.csv"
    fields = hours(text)
    path.write_text(f"{','.join(fields)}\n{','.join(map(str, fields.values()))}\n")
    return read_schedule_file(path, UTC)[0].open_us


def of_request(text: str, _: Path) -> int:
    return bars_request("B", "S", [("from", text)], [MINUTE])[0].from_us


READERS: dict[str, Reader] = {
    "core": lambda text, _: us_from_iso(text),
    "datetime": lambda text, _: us_from_datetime(datetime_from_iso(text)),
    "json iso": of_json("iso"),
    "json auto": of_json("auto"),
    "avro": of_avro,
    "file": of_file,
    "key": lambda text, _: int(BAR_KEY.read(["B", "S", text])[2]),
    "schedule row": of_row,
    "schedule row in json": of_json_row,
    "schedule file": of_schedule_file,
    "http": of_request,
    "commands": lambda text, _: Time()(text),
}


@pytest.mark.parametrize("reader", READERS)
def test_it_is_the_first_of_the_next_minute(reader: str, tmp_path: Path) -> None:
    found = {text: iso_micros_from_us(READERS[reader](text, tmp_path)) for text in TIMES}
    assert found == TIMES


@pytest.mark.parametrize("text", NO_TIMES)
@pytest.mark.parametrize("reader", READERS)
def test_no_other_number_wraps_around(reader: str, text: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, BarstreamError, ClickException)):
        READERS[reader](text, tmp_path)
