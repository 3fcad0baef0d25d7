"""The verdict of a soak: what grows is told, and what goes up and down is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.soak import Period, growths


def periods(count: int, **of: Callable[[int], Any]) -> list[Period]:
    made = []
    for number in range(count):
        period = Period(5.0 * (number + 1), 6_000_000, 300, 700, 20, 1)
        period.final_s, period.live_s = (0.5, 4.0 + number % 2, 8.0), (0.15, 3.0, 8.0)
        for name, value in of.items():
            setattr(period, name, value(number))
        made.append(period)
    return made


def test_what_goes_up_and_down_is_flat() -> None:
    assert growths(periods(12, memory_mib=lambda at: 300 + 40 * (at % 3))) == []


def test_what_settles_in_the_first_third_is_flat() -> None:
    assert growths(periods(12, memory_mib=lambda at: 600 if at > 2 else 200)) == []


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("memory_mib", lambda at: 300 + 30 * at, "memory"),
        ("descriptors", lambda at: 700 + 40 * at, "open files"),
        ("log_lines", lambda at: 20 * 2**at, "log lines"),
        ("final_s", lambda at: (0.5, 1.3**at, 20.0), "finals"),
        ("live_s", lambda at: (0.2 * 1.5**at, 1.0, 9.0), "live bars"),
    ],
)
def test_what_grows_from_the_middle_third_to_the_last_is_told(
    name: str, value: Callable[[int], Any], told: str
) -> None:
    (found,) = growths(periods(12, **{name: value}))
    assert found.startswith(told)


def test_two_periods_tell_nothing() -> None:
    (found,) = growths(periods(2))
    assert found.startswith("too short to tell")
