"""What feeds write, the worker's decoder reads: whatever the mapping."""

from __future__ import annotations

import asyncio
import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.codecs.ticks.decoder import TickDecoder
from barstream.config import TickSettings
from barstream.feeds.column_encoder import PackagedTicks, tick_encoder
from barstream.feeds.encoder import (
    FLOATS,
    ColumnEncoding,
    FeedFields,
    NumberField,
    TickEncodingError,
)

TICKS = ColumnEncoding(
    names=(("SIM", "A"), ("SIM", "B")),
    series=np.array([0, 1, 0]),
    time_us=np.array([1_704_207_845_123_456, 1_704_207_846_000_000, 1_704_207_847_250_000]),
    price=np.array([86.6915, 1.12146, 2_034.5]),
    bid=np.array([86.655, 1.1212, 2_034.4]),
    ask=np.array([86.728, 1.12172, 2_034.6]),
    size=np.array([1.5, np.nan, 3.0]),
)
NO_STAMPS = np.full(3, -1, np.int64)


def there_and_back(settings: TickSettings, ticks: ColumnEncoding = TICKS) -> Any:
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


def test_an_encoder_says_what_its_fields_hold(tmp_path: Path) -> None:
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 5}
    path = schema_of(tmp_path, s="string", t="long", p=decimal, q="long")
    settings = TickSettings(
        schema_file=path, broker_constant="sim", symbol="s", time="t", price="p", size="q"
    )
    encoder = asyncio.run(tick_encoder(settings, "ticks"))
    whole = NumberField(0, 2.0**63)
    assert encoder.fields == FeedFields(NumberField(5), None, whole)
    quotes = TickSettings(format="json", bid="b", ask="a", price_scale=3, time_unit="ms")
    side = NumberField(3, 2.0**63)
    found = asyncio.run(tick_encoder(quotes, "ticks")).fields
    assert found == FeedFields(None, (side, side), time_us=1_000)
    assert asyncio.run(tick_encoder(TickSettings(), "ticks")).fields == FLOATS


def one_tick(price: float, size: float) -> ColumnEncoding:
    return ColumnEncoding(
        (("SIM", "A"),), np.array([0]), np.array([0]), np.array([price]), None, None,
        np.array([size]),
    )  # fmt: skip


@given(
    price=st.decimals(-(10**7), 10**7, places=6) | st.floats(allow_nan=False),
    size=st.integers(0, 2**64) | st.floats(0, 1e19),
    scale=st.integers(1, 8),
    fixed=st.booleans(),
)
def test_an_encoder_takes_a_number_as_it_is_or_not_at_all(
    tmp_path_factory: pytest.TempPathFactory,
    price: Decimal | float,
    size: float,
    scale: int,
    fixed: bool,
) -> None:
    tick, end = one_tick(float(price), float(size)), 2.0**63
    settings = TickSettings(format="json", price_scale=scale)
    if fixed:
        end = 2.0**47
        number = {"type": "fixed", "name": "Price", "size": 6, "logicalType": "decimal",
                  "precision": 14, "scale": scale}  # fmt: skip
        path = schema_of(
            tmp_path_factory.getbasetemp(),
            broker="string", symbol="string", time="long", price=number, size="long",
        )  # fmt: skip
        settings = TickSettings(schema_file=path)
    encoder = asyncio.run(tick_encoder(settings, "ticks"))
    try:
        values = encoder.encode(tick)
    except TickEncodingError:
        whole = Decimal(repr(float(price))).scaleb(scale)
        fits = whole == whole.to_integral_value() and abs(whole) < end
        assert not (fits and (not fixed or (float(size).is_integer() and size < 2.0**63)))
        return
    found = TickDecoder(settings).decode(values, NO_STAMPS[:1])
    if math.isinf(price):
        assert found.rejected
        return
    assert not found.rejected
    assert found.price[0] == pytest.approx(float(price), rel=4 * 2**-52, abs=0)
    assert found.size[0] == float(size)


@pytest.mark.parametrize(
    ("price", "places", "fits"),
    [(1.2345, 4, True), (1.23456, 4, False), ((1.1 + 1.2) / 2, 2, True), (1.5, 0, False)],
)
def test_the_noise_of_a_mid_is_no_decimal(price: float, places: int, fits: bool) -> None:
    assert NumberField(places).too_fine(np.array([price, np.nan])).tolist() == [not fits, False]


def test_what_was_no_number_of_the_feed_is_refused_and_not_rounded() -> None:
    settings = TickSettings(format="json", price_scale=4)
    with pytest.raises(TickEncodingError, match=r"price field.*4 decimals, found 1.23456"):
        asyncio.run(tick_encoder(settings, "ticks")).encode(one_tick(1.23456, 1))
    with pytest.raises(TickEncodingError, match=r"price field.*numbers below 9.22"):
        asyncio.run(tick_encoder(settings, "ticks")).encode(one_tick(1e18, 1))
