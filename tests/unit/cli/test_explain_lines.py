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
