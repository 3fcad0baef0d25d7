"""The declaration of a pipeline: a value that says what it means, and refuses what it cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import timedelta
from typing import Any

import pytest

from barstream.model.period import Period
from barstream.pipeline import (
    DEFAULT,
    Column,
    MarketSchedule,
    Model,
    Query,
    QueryError,
    Rate,
    Tick,
)
from barstream.pipeline.query import refuse_what_does_not_run

JOIN: dict[str, Any] = {
    "join": ("broker", "symbol"), "opens": "open", "closes": "close", "day": "trading_date",
}  # fmt: skip
SCHEDULED = Query(source=Tick, time="time").based_on(MarketSchedule, **JOIN)


def refusal(declare: Callable[[], object]) -> str:
    with pytest.raises(QueryError) as caught:
        declare()
    return str(caught.value)


def test_a_query_is_a_value_and_every_step_a_new_one() -> None:
    """One declaration is the beginning of several; none of them changes another."""
    before = SCHEDULED
    minutes = SCHEDULED.tumbling(Period.minutes(5))
    hours = SCHEDULED.tumbling(Period.hours(1))

    assert before == Query().based_on(MarketSchedule, **JOIN)
    assert SCHEDULED.periods == ()
    assert (minutes.periods, hours.periods) == ((Period.minutes(5),), (Period.hours(1),))
    assert hash(minutes) != hash(hours)
    with pytest.raises(FrozenInstanceError):
        minutes.periods = ()  # type: ignore[misc]


def test_a_timeframe_more_is_one_line() -> None:
    more = DEFAULT.tumbling(Period.hours(4))

    assert more.periods == (*DEFAULT.periods, Period.hours(4))
    assert replace(more, periods=DEFAULT.periods) == DEFAULT


def test_the_one_that_comes_with_us_runs() -> None:
    refuse_what_does_not_run(DEFAULT)
    assert [str(period) for period in DEFAULT.periods] == ["1m", "5m", "15m", "1h", "1d"]
    assert DEFAULT.schedule is not None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"join": ("broker", "venue")}, r"join must be a column of Tick"),
        ({"join": ("broker", "price")}, r"'price', a number"),
        ({"join": ("broker",)}, r"join must be the key of Tick"),
        ({"join": "symbol"}, r"join must be the key of Tick .* found \('symbol',\)"),
        ({"opens": "opens"}, r"opens must be a column of MarketSchedule that is a time .*opens"),
        ({"closes": "session"}, r"closes must be .* 'session', a number"),
        ({"day": "open"}, r"day must be .* a date \(trading_date\), found 'open', a time"),
        ({"closes": "open"}, r"two columns"),
    ],
)
def test_a_join_on_columns_that_do_not_fit_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(QueryError, match=said):
        Query().based_on(MarketSchedule, **JOIN | changed)


def test_a_schedule_is_joined_once_and_is_a_model() -> None:
    assert "one schedule" in refusal(lambda: SCHEDULED.based_on(MarketSchedule, **JOIN))
    wrong: Any = "market_schedule"
    assert "must be a Model" in refusal(lambda: Query().based_on(wrong, **JOIN))


def test_the_time_of_a_source_is_one_of_its_columns() -> None:
    assert "(time)" in refusal(lambda: Query(source=Tick, time="event_time"))
    assert "'price', a number" in refusal(lambda: Query(source=Tick, time="price"))
    wrong: Any = "ticks"
    assert "source must be a Model" in refusal(lambda: Query(source=wrong))


@pytest.mark.parametrize(
    "periods",
    [
        (Period.hours(1), Period.hours(1, anchor="session")),
        (Period.minutes(60), Period.hours(1)),
        (Period.minutes(5), Period.minutes(5)),
    ],
)
def test_two_periods_of_one_name_are_refused_in_one_step_and_in_two(
    periods: tuple[Period, Period],
) -> None:
    """Both would be written to one topic under the same keys."""
    first, second = periods
    assert "once" in refusal(lambda: Query().tumbling(first, second))
    assert "once" in refusal(lambda: Query().tumbling(first).tumbling(second))


def test_a_window_is_a_period() -> None:
    wrong: Any = "5m"
    assert "Period.parse" in refusal(lambda: Query().tumbling(wrong))
    assert "at least one" in refusal(Query().tumbling)


@pytest.mark.parametrize("grace", [-1, float("nan"), float("inf"), 3_601, True, "5", [5]])
def test_a_grace_that_is_no_span_of_time_is_refused(grace: Any) -> None:
    assert "grace_s must be" in refusal(lambda: Query().tumbling(Period.minutes(1), grace_s=grace))


def test_a_grace_is_seconds_or_a_timedelta_and_one_for_the_pipeline() -> None:
    """All bars rest on the same minutes, and these close once."""
    query = Query().tumbling(Period.minutes(1), grace_s=timedelta(milliseconds=1500))
    assert query.grace_s == 1.5
    assert query.tumbling(Period.hours(1)).grace_s == 1.5
    assert query.tumbling(Period.hours(1), grace_s=1.5).grace_s == 1.5
    assert "one grace" in refusal(lambda: query.tumbling(Period.hours(1), grace_s=2))
    assert "one grace" in refusal(lambda: query.tumbling(Period.hours(1), grace_s=0))


def test_bars_are_keyed_by_series_and_start() -> None:
    assert Query().into(Rate, base="fx").base == "fx"
    for target in (Tick, MarketSchedule, replace(Rate, key=("symbol", "broker", "bucket_start"))):
        assert "start of the bucket" in refusal(lambda target=target: Query().into(target))  # type: ignore[misc]


def test_what_this_version_cannot_carry_out_is_refused() -> None:
    """Better than bars of other columns than the declaration says."""
    trade = Model("Trade", (*Tick.columns, Column("venue", "text")), Tick.key)
    window = Query(source=trade, time="time").tumbling(Period.minutes(1))
    assert "columns and the key of Tick, found Trade" in refusal(
        lambda: refuse_what_does_not_run(window)
    )
    turned = Query().based_on(MarketSchedule, **JOIN | {"opens": "close", "closes": "open"})
    assert "opens='close'" in refusal(
        lambda: refuse_what_does_not_run(turned.tumbling(Period.minutes(1)))
    )
    assert "no tumbling window" in refusal(lambda: refuse_what_does_not_run(SCHEDULED))
    elsewhere = Query(source=replace(Tick, name="Trade", topic="trades"))
    refuse_what_does_not_run(elsewhere.tumbling(Period.minutes(1)))


def test_a_model_needs_a_key_of_its_own_columns() -> None:
    columns = (Column("broker", "text"), Column("time", "time"))
    with pytest.raises(ValueError, match="found none"):
        Model("Row", columns, ())
    with pytest.raises(ValueError, match=r"of its columns \(broker, time\), found symbol"):
        Model("Row", columns, ("broker", "symbol"))
    with pytest.raises(ValueError, match="a column once"):
        Model("Row", columns, ("broker", "broker"))
    with pytest.raises(ValueError, match="found twice: broker"):
        Model("Row", (*columns, Column("broker", "number")), ("broker",))


def test_only_keys_that_sort_as_their_parts_are_read_by_range() -> None:
    parts = [(part.name, part.kind) for part in Rate.key_parts]
    assert parts == [("broker", "text"), ("symbol", "text"), ("bucket_start", "time")]
    with pytest.raises(ValueError, match="trading_date of MarketSchedule, a date"):
        _ = MarketSchedule.key_parts
