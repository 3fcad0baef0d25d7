"""What ``barstream explain`` prints of a report."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from barstream.cli.explain_lines import show


def report(live: int) -> dict[str, Any]:
    """Of a bar with one final and so many live versions, at offsets 0, 1, 2 and so on."""
    version = {
        "offset": 0, "append_time": "2024-03-04T10:01:05.000000Z", "open": 1.5, "high": 1.5,
        "low": 1.5, "close": 1.5, "volume": 1.0, "tick_count": 1, "revision": 0,
        "synthetic": False, "first_offset": 0, "last_offset": 0, "close_offset": 1,
    }  # fmt: skip
    empty = dict.fromkeys(
        ("what_to_do", "session", "session_before", "session_after", "session_written", "series",
         "partition")
    )  # fmt: skip
    return empty | {
        "broker": "B", "symbol": "S", "timeframe": "1m", "bucket_start": "2024-03-04T10:00:00Z",
        "status": "final", "explanation": "final, made of 1 tick", "similar": [], "notes": [],
        "finals": [version], "live": [version | {"offset": at} for at in range(live)],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("live", "printed"),
    [
        (0, []),
        (7, ["0", "1", "2", "3", "4", "5", "6"]),
        (8, ["0", "1", "2", "...", "5", "6", "7"]),
        (300, ["0", "1", "2", "...", "297", "298", "299"]),
    ],
)
def test_of_many_live_versions_the_first_and_last_are_printed(
    live: int, printed: list[str]
) -> None:
    # a busy minute has one every live interval: hundreds
    out = io.StringIO()
    show(report(live), Console(file=out, width=200))
    rows = [line.split() for line in out.getvalue().splitlines()]
    assert [row[1] for row in rows if row[0] == "live"] == printed
    assert [row[1] for row in rows if row[0] == "final"][-1] == "0"


def of_ticks(count: int, **given_by: int) -> dict[str, Any]:
    """Of a bar of so many ticks, at offsets 0, 1, 2 and so on."""
    ticks = [
        {"partition": 0, "offset": at, "time": "2024-03-04T10:00:01.000000Z", "price": 1.5,
         "size": 1_234_567.25, "append_time": "2024-03-04T10:00:01.000000Z"}
        for at in range(count)
    ]  # fmt: skip
    told = {
        "in_log": count, "accepted": count, "waiting": 0, "left_off": 0, "shown": ticks,
        "given_by": given_by | {"agrees": True},
    }  # fmt: skip
    return report(0) | {
        "ticks": told, "rejected": [], "in_other_partitions": [], "no_ticks": [],
    }  # fmt: skip


def rows_of(found: dict[str, Any], **options: bool) -> list[str]:
    out = io.StringIO()
    show(found, Console(file=out, width=200), **options)
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("count", "high", "low", "printed"),
    [
        (3, 1, 2, "0 1 2"),
        (6, 1, 2, "0 1 2 3 4 5"),
        (40, 17, 30, "0 1 2 3 4 ...12 17 ...12 30 ...8 39"),
        (40, 6, 8, "0 1 2 3 4 5 6 7 8 ...30 39"),
        (400, 2, 3, "0 1 2 3 4 ...394 399"),
    ],
)
def test_the_first_ticks_and_those_that_made_the_prices_are_printed(
    count: int, high: int, low: int, printed: str
) -> None:
    found = of_ticks(count, open=0, high=high, low=low, close=count - 1)

    def shown(**options: bool) -> list[str]:
        lines = [row.split() for row in rows_of(found, **options) if row.startswith("  ")]
        return [
            "".join(row[:2]) if row[0] == "..." else row[0]
            for row in lines if row[0] not in ("offset", "topic")
        ]  # fmt: skip

    assert shown() == printed.split()
    assert shown(all_ticks=True) == [str(at) for at in range(count)]
    marked = {row.split()[0]: row.split()[5:] for row in rows_of(found) if "1,234,567.25" in row}
    assert "high" in " ".join(marked[str(high)])
    assert "low" in " ".join(marked[str(low)])


def test_a_tick_without_a_price_is_printed_too() -> None:
    found = of_ticks(1)
    found["ticks"]["shown"][0] |= {"price": None, "size": None}
    assert any(row.split()[2:4] == ["-", "-"] for row in rows_of(found))


def test_of_many_ticks_refused_for_one_reason_the_first_are_printed_and_all_on_request() -> None:
    found = of_ticks(1, open=0, high=0, low=0, close=0)
    found["in_other_partitions"] = of_ticks(233)["ticks"]["shown"]
    late = {"reason": "late", "detail": "its bar is final", "rejected_offset": 0}
    found["rejected"] = [found["ticks"]["shown"][0] | late]
    elsewhere = [row for row in rows_of(found) if row.startswith("elsewhere")]
    assert len(elsewhere) == 6
    assert elsewhere[-1] == "elsewhere   partition: 228 more: --ticks all"
    assert any(row.startswith("rejected    late") for row in rows_of(found))
    everything = rows_of(found, all_ticks=True)
    assert sum(row.startswith("elsewhere") for row in everything) == 233


def test_a_volume_is_printed_whole() -> None:
    found = report(0)
    found["finals"][0]["volume"] = 11_642.63
    assert any("11,642.63" in row for row in rows_of(found))


def test_sessions_that_the_explanation_names_are_not_said_again() -> None:
    session = {"trading_date": "2024-03-01", "session": 0, "open": "2024-02-29T22:00:00.000000Z",
               "close": "2024-03-01T22:00:00.000000Z"}  # fmt: skip
    found = report(0) | {"session_before": session}
    assert any("before" in row for row in rows_of(found))
    told = "no bar: off session; the session before: 2024-03-01 session 0, 2024-02-29T22:00:00Z"
    assert sum("2024-02-29" in row for row in rows_of(found | {"explanation": told})) == 1


def test_on_a_terminal_no_line_is_wider_than_a_hundred_and_nothing_is_lost() -> None:
    far = {"first_offset": 123_456_780, "last_offset": 123_456_789, "close_offset": 123_456_790}
    wide = report(9)
    for one in (*wide["finals"], *wide["live"]):
        one.update(far | dict.fromkeys(("open", "high", "low", "close"), 12_345.6789))
    words = "the heartbeat at offset 17 closed it when ticks had been applied that far " * 3
    wide |= {"explanation": words.strip(), "notes": [words.strip()], "what_to_do": words.strip()}

    def printed(*, terminal: bool) -> str:
        out = io.StringIO()
        console = Console(file=out, width=140, force_terminal=terminal, color_system=None)
        show(wide, console)
        return out.getvalue()

    narrow, plain = printed(terminal=True), printed(terminal=False)
    assert max(map(len, narrow.splitlines())) <= 100
    assert set(plain.split()) == set(narrow.split()), "a pipe has the same in longer lines"
    assert f"note        {words.strip()}" in plain
