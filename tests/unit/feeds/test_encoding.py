"""What feeds write, the worker's decoder reads: whatever the mapping."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from barstream.codecs.ticks import TickDecoder
from barstream.config import TickSettings
from barstream.feeds.encoder import FieldDecimals, TickColumns, TickEncodingError
from barstream.feeds.encoding import PackagedTicks, tick_encoder

TICKS = TickColumns(
    names=(("SIM", "A"), ("SIM", "B")),
    series=np.array([0, 1, 0]),
    time_us=np.array([1_704_207_845_123_456, 1_704_207_846_000_000, 1_704_207_847_250_000]),
    price=np.array([86.6915, 1.12146, 2_034.5]),
    bid=np.array([86.655, 1.1212, 2_034.4]),
    ask=np.array([86.728, 1.12172, 2_034.6]),
    size=np.array([1.5, np.nan, 3.0]),
)
NO_STAMPS = np.full(3, -1, np.int64)


def there_and_back(settings: TickSettings, ticks: TickColumns = TICKS) -> Any:
    values = asyncio.run(tick_encoder(settings, "ticks")).encode(ticks)
    found = TickDecoder(settings).decode(values, NO_STAMPS)
    assert not found.rejected
    assert [found.names[i] for i in found.series] == [ticks.names[i] for i in ticks.series]
    return found


def schema_of(tmp_path: Path, **types: Any) -> Path:
    path = tmp_path / "own.avsc"
    fields = [{"name": name, "type": kind} for name, kind in types.items()]
    fields.append({"name": "note", "type": "string", "default": ""})
    path.write_text(json.dumps({"type": "record", "name": "Own", "fields": fields}))
    return path


def test_the_packaged_schema() -> None:
    found = there_and_back(TickSettings())
    assert found.time_us.tolist() == TICKS.time_us.tolist()
    assert found.price.tolist() == TICKS.price.tolist()
    assert found.size.tolist() == [1.5, 0, 3]
    assert isinstance(asyncio.run(tick_encoder(TickSettings(), "ticks")), PackagedTicks)


@pytest.mark.parametrize("unit", ["auto", "us", "ms", "ns", "iso"])
def test_json(unit: Any) -> None:
    settings = TickSettings(format="json", symbol="sym", time="ts", time_unit=unit)
    found = there_and_back(settings)
    step = 1_000 if unit == "ms" else 1
    assert found.time_us.tolist() == (TICKS.time_us // step * step).tolist()
    assert found.price.tolist() == TICKS.price.tolist()


def test_quotes_in_json_make_the_mid() -> None:
    assert TICKS.bid is not None
    assert TICKS.ask is not None
    found = there_and_back(TickSettings(format="json", bid="b", ask="a"))
    assert found.price.tolist() == ((TICKS.bid + TICKS.ask) / 2).tolist()


def test_an_own_schema_with_decimals_and_millis(tmp_path: Path) -> None:
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 5}
    path = schema_of(
        tmp_path,
        s=["null", "string"],
        t={"type": "long", "logicalType": "timestamp-millis"},
        p=decimal,
    )
    settings = TickSettings(
        schema_file=path, broker_constant="sim", symbol="s", time="t", price="p", size=None
    )
    found = there_and_back(settings)
    assert found.time_us.tolist() == (TICKS.time_us // 1_000 * 1_000).tolist()
    assert found.price.tolist() == TICKS.price.tolist()


def test_whole_number_prices_and_nested_fields(tmp_path: Path) -> None:
    quote = {
        "type": "record",
        "name": "Quote",
        "fields": [{"name": "bid", "type": "long"}, {"name": "ask", "type": "long"}],
    }
    path = schema_of(tmp_path, broker="string", symbol="string", time="string", quote=quote)
    settings = TickSettings(
        schema_file=path, bid="quote.bid", ask="quote.ask", price_scale=5, size=None
    )
    found = there_and_back(settings)
    assert found.price == pytest.approx(TICKS.price, abs=1e-5)


def test_a_schema_that_wants_more_than_a_tick_is_explained(tmp_path: Path) -> None:
    path = schema_of(
        tmp_path, broker="string", symbol="string", time="long", price="double", venue="string"
    )
    encoder = asyncio.run(tick_encoder(TickSettings(schema_file=path, size=None), "ticks"))
    with pytest.raises(TickEncodingError, match="venue"):
        encoder.encode(TICKS)


def test_ticks_of_another_broker_than_the_constant_are_refused() -> None:
    settings = TickSettings(format="json", broker_constant="other")
    with pytest.raises(TickEncodingError, match="broker_constant"):
        asyncio.run(tick_encoder(settings, "ticks")).encode(TICKS)


def test_an_encoder_says_how_many_decimals_its_fields_hold(tmp_path: Path) -> None:
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 5}
    path = schema_of(tmp_path, s="string", t="long", p=decimal, q="long")
    settings = TickSettings(
        schema_file=path, broker_constant="sim", symbol="s", time="t", price="p", size="q"
    )
    encoder = asyncio.run(tick_encoder(settings, "ticks"))
    assert encoder.decimals == FieldDecimals(5, None, 0)
    quotes = TickSettings(format="json", bid="b", ask="a", price_scale=3)
    assert asyncio.run(tick_encoder(quotes, "ticks")).decimals == FieldDecimals(None, (3, 3))
    assert asyncio.run(tick_encoder(TickSettings(), "ticks")).decimals == FieldDecimals()
