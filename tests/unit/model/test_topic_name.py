"""Topic names come from one resolver (spec 2)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.model.topic_name import (
    MAX_LENGTH,
    UNITS,
    bar_topic,
    resolve,
    shorten,
    timeframe,
)

bases = st.text("abcXYZ._-0", min_size=1, max_size=300)


@pytest.mark.parametrize(
    ("count", "unit", "name"),
    [
        (1, "m", "rate_1m_final"),
        (1, "h", "rate_1h_final"),
        (1, "d", "rate_1d_final"),
        (1, "wk", "rate_1wk_final"),
        (1, "mo", "rate_1mo_final"),
    ],
)
def test_names_are_base_count_unit_and_kind(count: int, unit: str, name: str) -> None:
    assert bar_topic("rate", count, unit, "final") == name


def test_a_capital_m_is_refused_for_months_and_minutes_differ_in_more_than_case() -> None:
    with pytest.raises(ValueError, match="months are mo"):
        timeframe(1, "M")
    assert len({unit.lower() for unit in UNITS}) == len(UNITS)


def test_a_period_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1m"):
        timeframe(0, "m")


@given(bases, st.integers(1, 10_000), st.sampled_from(UNITS), st.sampled_from(["live", "final"]))
def test_generated_names_are_lower_case_and_such_as_kafka_takes(
    base: str, count: int, unit: str, kind: str
) -> None:
    name = bar_topic(base, count, unit, kind)  # type: ignore[arg-type]
    assert re.fullmatch(r"[a-z0-9._-]{1,249}", name)
    assert name.endswith(f"_{count}{unit}_{kind}")


def test_a_name_of_exactly_the_longest_length_is_left_alone() -> None:
    assert shorten("x" * MAX_LENGTH) == "x" * MAX_LENGTH
    assert len(shorten("x" * (MAX_LENGTH + 1))) == MAX_LENGTH


def test_two_long_names_that_begin_alike_stay_two() -> None:
    names = {shorten("x" * 400 + last, tail="_1m_final") for last in "abcdef"}
    assert len(names) == 6


def test_a_shortened_name_is_the_same_in_every_process() -> None:
    assert shorten("x" * 300)[-11:] == "_0d4e2ca9e9"


def test_configuration_wins_over_model_over_default() -> None:
    configured = {"rate_1m_final": "Prices.Minute"}
    assert (
        resolve("rate_1m_final", configured=configured, model="quotes_1m_final", default="d")
        == "Prices.Minute"
    )
    assert resolve("x", configured=configured, model="Quotes_1m", default="d") == "quotes_1m"
    assert resolve("x", configured=configured, default="D") == "d"
    assert resolve("x", configured={}) == "x"
