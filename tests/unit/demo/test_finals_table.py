"""What the demo prints: columns that stay, and in words what is special about a bar."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from barstream.demo.display import DemoScreen, FinalBar, FinalsTable
from barstream.model.period import DAY, MINUTE, Period
from barstream.model.time import us_from_iso
from tests.sample_bar import SAMPLE

PERIODS = (MINUTE, Period.minutes(5), DAY)
DECIMALS = {"EURUSD": 5, "BTCUSD": 1}


class Printed:
    """A table and the lines it printed."""

    def __init__(self) -> None:
        self._out = io.StringIO()
        screen = DemoScreen(Console(file=self._out, width=40, highlight=False))
        self.table = FinalsTable(screen, PERIODS, DECIMALS)

    @property
    def lines(self) -> list[str]:
        return self._out.getvalue().splitlines()


@pytest.fixture
def printed() -> Printed:
    return Printed()


def final(
    start: str, symbol: str, prices: Sequence[float], period: Period = MINUTE, **changes: Any
) -> FinalBar:
    first, high, low, last = prices
    bar = SAMPLE.replace(
        broker="SIM",
        symbol=symbol,
        bucket_start_us=us_from_iso(start),
        open=first,
        high=high,
        low=low,
        close=last,
        volume=12.0,
        tick_count=3,
        open_time_us=None,
        close_time_us=None,
        first_offset=None,
        last_offset=None,
        close_offset=9,
    )
    return FinalBar(period, bar.replace(**changes))


def test_columns_stand_below_each_other_whatever_the_numbers(printed: Printed) -> None:
    printed.table.bars(
        [
            final("2026-11-29T18:42:00Z", "BTCUSD", [61850.0, 161850.5, 9.0, 61851.0]),
            final(
                "2026-11-29T00:00:00Z", "EURUSD", [1.08, 1.09, 1.07, 1.085], DAY,
                volume=12_080_093.68, tick_count=1_164_930,
            ),
            final("2026-11-29T18:42:00Z", "EURUSD", [1.08, 1.09, 1.07, 1.085]),
        ]
    )  # fmt: skip
    header, *rows = printed.lines
    assert header.split() == [
        "UTC", "bar", "series", "open", "high", "low", "close", "volume", "ticks"
    ]  # fmt: skip
    assert [row.split() for row in rows] == [
        ["18:42", "1m", "EURUSD", "1.08000", "1.09000", "1.07000", "1.08500", "12", "3"],
        ["18:42", "1m", "BTCUSD", "61850.0", "161850.5", "9.0", "61851.0", "12", "3"],
        [
            "11-29", "1d", "EURUSD", "1.08000", "1.09000", "1.07000", "1.08500",
            "12,080,094", "1,164,930",
        ],
    ]  # fmt: skip
    ends = [header.index(name) + len(name) for name in ("open", "high", "low", "close", "ticks")]
    for row in rows:
        assert len(row) == len(header)
        assert all(row[end - 1] != " " and row[end : end + 1] in ("", " ") for end in ends)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "3"),
        ({"synthetic": True, "tick_count": 0}, "no tick"),
        ({"revision": 1}, "revised: 1 late tick"),
        ({"revision": 2}, "revised: 2 late ticks"),
        ({"synthetic": True, "revision": 1}, "no tick, revised"),
    ],
)
def test_what_is_special_about_a_bar_is_said_in_words(
    printed: Printed, changes: dict[str, Any], words: str
) -> None:
    printed.table.bars([final("2026-11-29T18:42:00Z", "EURUSD", [1.0, 1.0, 1.0, 1.0], **changes)])
    assert printed.lines[-1].endswith(f" {words}")


def test_the_header_comes_again_now_and_then(printed: Printed) -> None:
    for _ in range(121):
        printed.table.bars([final("2026-11-29T18:42:00Z", "EURUSD", [1.0, 1.0, 1.0, 1.0])])
    assert sum(line.startswith("UTC") for line in printed.lines) == 3


def test_rejected_ticks_are_told_once_with_their_reason(printed: Printed) -> None:
    printed.table.begin({"invalid": 1})
    printed.table.rejected({"invalid": 1})
    assert not printed.lines
    printed.table.rejected({"invalid": 2, "future": 1})
    printed.table.rejected({"invalid": 2, "future": 1})
    printed.table.rejected({})  # the worker was too busy to say
    printed.table.rejected({"invalid": 2, "future": 3})
    assert [line.strip() for line in printed.lines] == [
        "1 tick rejected: future",
        "1 tick rejected: invalid, 2 so far",
        "2 ticks rejected: future, 3 so far",
    ]


def test_a_step_says_what_it_took_and_what_came_of_it() -> None:
    out = io.StringIO()
    with DemoScreen(Console(file=out, width=20)).step("topics") as told:
        told("14 of them")
    assert out.getvalue().split() == ["topics", "0.0", "s", "14", "of", "them"]
