"""Query validation, for every text a client could send."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from barstream.core.time import MINUTE_US, iso_micros_from_us
from barstream.web.parameters import (
    EARLIEST_US,
    LATEST_US,
    MAX_LIMIT,
    BadParameterError,
    Span,
    bars_span,
    schedule_span,
)

names = st.sampled_from(["timeframe", "from", "to", "limit", "order", "x"])
texts = st.one_of(st.text(max_size=30), st.sampled_from(["1m", "5", "asc", "2024-01-01"]))
times = st.integers(EARLIEST_US, LATEST_US)


@given(st.text(), st.text(), st.lists(st.tuples(names, texts), max_size=5), times)
def test_any_query_is_understood_within_bounds_or_refused_by_name(
    broker: str, symbol: str, query: list[tuple[str, str]], now_us: int
) -> None:
    for span in (
        understood(bars_span, broker, symbol, query),
        understood(partial(schedule_span, now_us=now_us), broker, symbol, query),
    ):
        if isinstance(span, BadParameterError):
            assert span.required
            assert span.found
            assert span.parameter in {"broker", "symbol", "from", *(name for name, _ in query)}
        else:
            assert EARLIEST_US <= span.from_us < span.to_us <= LATEST_US
            assert 1 <= span.limit <= MAX_LIMIT


def understood(
    ask: Callable[[str, str, list[tuple[str, str]]], Span],
    broker: str,
    symbol: str,
    query: list[tuple[str, str]],
) -> Span | BadParameterError:
    try:
        return ask(broker, symbol, query)
    except BadParameterError as error:
        return error


@given(times, times, st.integers(1, MAX_LIMIT), st.sampled_from(["asc", "desc"]))
def test_what_was_written_is_what_is_read(a_us: int, b_us: int, limit: int, order: str) -> None:
    from_us, to_us = min(a_us, b_us), max(a_us, b_us) + 1
    if to_us > LATEST_US:
        return
    query = [
        ("from", iso_micros_from_us(from_us)),
        ("to", iso_micros_from_us(to_us)),
        ("limit", str(limit)),
        ("order", order),
    ]
    span = bars_span(" fx ", "eurusd", query)
    assert (span.broker, span.symbol, span.to_us, span.limit) == ("FX", "EURUSD", to_us, limit)
    assert 0 <= from_us - span.from_us < MINUTE_US
    assert span.from_us % MINUTE_US == 0
    assert span.descending == (order == "desc")
