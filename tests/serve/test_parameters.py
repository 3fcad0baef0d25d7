"""Query validation, for every text a client could send."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.model.bar_request import (
    EARLIEST_US,
    LATEST_US,
    MAX_PAGE,
    BarRequest,
    after_text,
    place_text,
)
from barstream.model.key import MAX_NAME
from barstream.model.period import MINUTE, Period
from barstream.model.time import iso_micros_from_us
from barstream.serve.parameters import (
    BadParameterError,
    SeriesRequest,
    bars_request,
    live_request,
    schedule_span,
    series_request,
)

from .memory_reads import make_bar

PERIODS = (MINUTE, Period.minutes(5), Period.parse("1h@session"), Period.parse("4h+1h"))
AFTER = after_text(make_bar(0))

names = st.sampled_from(["timeframe", "from", "to", "limit", "order", "after", "partial", "x"])
texts = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["1m", "5", "asc", "2024-01-01", "5m", "allow", AFTER, AFTER[:-4]]),
)
times = st.integers(EARLIEST_US, LATEST_US)


def asked(broker: str | None, symbol: str | None, query: list[tuple[str, str]]) -> BarRequest:
    return bars_request(broker, symbol, query, PERIODS)[0]


@given(st.text(), st.text(), st.lists(st.tuples(names, texts), max_size=5), times)
def test_any_query_is_understood_within_bounds_or_refused_by_name(
    broker: str, symbol: str, query: list[tuple[str, str]], now_us: int
) -> None:
    for span in (
        understood(asked, broker, symbol, query),
        understood(asked, broker, None, query),
        understood(asked, None, None, query),
        understood(partial(schedule_span, now_us=now_us), broker, symbol, query),
    ):
        if isinstance(span, BadParameterError):
            assert span.required
            assert span.found
            assert span.parameter in {"broker", "symbol", "from", *(name for name, _ in query)}
        else:
            assert EARLIEST_US <= span.from_us < span.to_us <= LATEST_US
            assert 1 <= span.limit <= MAX_PAGE


def understood(
    ask: Callable[[Any, Any, list[tuple[str, str]]], Any],
    broker: str | None,
    symbol: str | None,
    query: list[tuple[str, str]],
) -> Any:
    try:
        return ask(broker, symbol, query)
    except BadParameterError as error:
        return error


@given(times, times, st.integers(1, MAX_PAGE), st.sampled_from(["asc", "desc"]))
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
    expected = BarRequest(MINUTE, "FX", "EURUSD", from_us, to_us, limit, order == "desc")
    assert asked(" fx ", "eurusd", query) == expected


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("", "1m"),
        ("5m", "5m"),
        (" 5m ", "5m"),
        ("60m", "1h@session"),
        ("1h", "1h@session"),
        ("1h@session", "1h@session"),
        ("4h", "4h+1h"),
        ("4h+60m", "4h+1h"),
        ("4h 1h", "4h+1h"),
    ],
)
def test_a_timeframe_is_a_period_of_the_pipeline_however_it_is_spelled(
    text: str, period: str
) -> None:
    assert str(asked("FX", "EURUSD", [("timeframe", text)]).period) == period


@pytest.mark.parametrize("text", ["15m", "7m", "1M", "4h+2h", "5m@session", "1", "x"])
def test_a_timeframe_the_pipeline_does_not_make_is_refused_with_those_it_makes(text: str) -> None:
    with pytest.raises(BadParameterError) as refused:
        asked("FX", "EURUSD", [("timeframe", text)])
    assert refused.value.parameter == "timeframe"
    assert "1m, 5m, 1h, 4h" in refused.value.required


def test_a_page_goes_on_only_where_it_came_from() -> None:
    """A mark of one series in a request for another would silently leave bars off."""
    mark = [("after", after_text(make_bar(0, broker="FX", symbol="EURUSD")))]
    for broker, symbol in ((None, None), ("FX", None), ("FX", "EURUSD")):
        assert asked(broker, symbol, mark).after == mark[0][1]
    for broker, symbol in (("LSE", None), ("FX", "USDJPY")):
        with pytest.raises(BadParameterError, match="after"):
            asked(broker, symbol, mark)


def test_lists_have_a_limit_and_go_on_after_a_mark() -> None:
    assert series_request([]) == (SeriesRequest(1_000, None), False)
    mark = place_text("FX", "EURUSD")
    query = [("limit", "7"), ("after", mark), ("partial", "allow")]
    assert series_request(query) == (SeriesRequest(7, ("FX", "EURUSD")), True)
    live, some = live_request("fx", None, query, PERIODS)
    assert (live.limit, live.after, some) == (7, mark, True)


@pytest.mark.parametrize(
    "pair", [("limit", "0"), ("limit", "10001"), ("limit", "x"), ("after", "x"), ("from", "2024")]
)
def test_what_a_list_cannot_be_asked_for_is_refused(pair: tuple[str, str]) -> None:
    for ask in (series_request, partial(live_request, None, None, periods=PERIODS)):
        with pytest.raises(BadParameterError) as refused:
            ask([pair])
        assert refused.value.parameter == pair[0]


def test_a_mark_of_another_broker_is_refused() -> None:
    with pytest.raises(BadParameterError, match="of the same request"):
        live_request("FX", None, [("after", place_text("CRYPTO", "BTC"))], PERIODS)


@pytest.mark.parametrize("parameter", ["timeframe", "from", "to", "limit", "order", "after"])
@pytest.mark.parametrize("part", ["00:", "2", " ", "2024-01-01T00:00:00.", "00:00 ", "\x1b"])
def test_a_text_that_is_too_long_is_refused_before_it_is_understood(
    parameter: str, part: str
) -> None:
    """Looking for an offset in 7.8 kB of `00:` held the event loop for 0.3 s."""
    text = (part * 7_800)[:7_800]
    with pytest.raises(BadParameterError) as refused:
        asked("FX", "EURUSD", [(parameter, text)])
    longest = "2,400" if parameter == "after" else "64"
    assert str(refused.value) == (
        f"{parameter} must be at most {longest} characters, found 7,800 of them"
    )


def test_no_mark_that_is_given_is_too_long() -> None:
    longest = "\U0001f600" * MAX_NAME
    mark = place_text(longest, longest)
    assert asked(None, None, [("after", mark)]).after == mark


@pytest.mark.parametrize(
    ("broker", "symbol", "query"),
    [
        ("FX", "A" * 8_000, []),
        (" " * 8_000, "A", []),
        ("FX", "EURUSD", [("x" * 8_000, "")]),
        ("FX", "EURUSD", [("after", "a" * 2_000), ("after", "b" * 2_000)]),
    ],
)
def test_an_error_repeats_no_more_than_the_beginning_of_what_was_found(
    broker: str, symbol: str, query: list[tuple[str, str]]
) -> None:
    with pytest.raises(BadParameterError) as refused:
        asked(broker, symbol, query)
    assert len(str(refused.value)) < 600
