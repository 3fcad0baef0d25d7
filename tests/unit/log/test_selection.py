"""Records are chosen by their key, so that only those asked for are decoded."""

from __future__ import annotations

import pytest

from barstream.log.selection import Selection
from barstream.model.key import bar_key
from barstream.model.time import MINUTE_US, us_from_iso

START_US = us_from_iso("2024-01-02T10:00:00Z")
KEYS: list[bytes | None] = [
    bar_key("FX", "EUR", START_US),
    None,
    bar_key("FX", "EURX", START_US),
    bar_key("FX", "EUR", START_US + MINUTE_US),
    bar_key("FXX", "EUR", START_US),
]


def test_everything_but_records_without_a_key() -> None:
    assert Selection().positions(KEYS) == [0, 2, 3, 4]


def test_a_broker_is_not_one_that_begins_like_it() -> None:
    assert Selection.of(" fx ").positions(KEYS) == [0, 2, 3]


def test_a_symbol_is_not_one_that_begins_like_it() -> None:
    assert Selection.of("fx", "eur").positions(KEYS) == [0, 3]


def test_time_is_half_open() -> None:
    both = Selection.of(from_us=START_US, to_us=START_US + MINUTE_US)
    assert both.positions(KEYS) == [0, 2, 4]
    assert Selection.of(from_us=START_US + 1).positions(KEYS) == [3]


def test_a_symbol_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="name the broker"):
        Selection.of(symbol="EUR")
