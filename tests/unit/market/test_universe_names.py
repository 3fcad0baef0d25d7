"""Which series a misspelt name may have been meant to be."""

from __future__ import annotations

import pytest

from barstream.market.universe import did_you_mean, nearest_series

KNOWN = [("FX", "EURUSD"), ("FX", "USDJPY"), ("LMAX", "EURUSD"), ("x", "BCpC")]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        (("FX", "EURUSX"), [("FX", "EURUSD"), ("LMAX", "EURUSD")]),
        (("IDEALPRO", "USDJPY"), [("FX", "USDJPY")]),
        (("x", "BCPC"), [("x", "BCpC")]),
        (("FX", "EURUSD"), [("LMAX", "EURUSD")]),
        (("NYSE", "IBM"), []),
        (("FX", "XAUUSD"), []),
        (("x", "EURUSDX"), [("FX", "EURUSD"), ("LMAX", "EURUSD")]),
    ],
)
def test_names_spelled_alike_and_the_symbol_at_other_brokers_are_near(
    name: tuple[str, str], near: list[tuple[str, str]]
) -> None:
    assert nearest_series(name, KNOWN) == near


def test_they_are_asked_for_in_one_clause() -> None:
    assert did_you_mean([("FX", "A"), ("FX", "B")]) == "; did you mean FX A or FX B?"
    assert did_you_mean([]) == ""


def test_only_so_many_are_compared() -> None:
    many = [("FX", f"S{number:05}") for number in range(10_000)]
    assert nearest_series(("FX", "S09999X"), many, 1) != [("FX", "S09999")]


def test_a_symbol_that_is_long_is_compared_to_none() -> None:
    """Two thousand comparisons of 190 characters hold a worker up for 50 ms."""
    assert nearest_series(("FX", "A" * 64 + "B"), [("FX", "A" * 64 + "C")]) == []
    assert nearest_series(("FX", "A" * 63 + "B"), [("FX", "A" * 63 + "C")]) != []


def test_a_series_that_is_known_twice_is_named_once() -> None:
    # by its ticks and by its sessions
    assert nearest_series(("FX", "EURUDS"), [("FX", "EURUSD")] * 2) == [("FX", "EURUSD")]
