"""The verdict of a soak: what grows is told, and what goes up and down is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.soak_report import Kill, Look, Period, Soak, findings, page

Number = Callable[[float], float]
VERIFIED = {"bars": {"1m": 300_000, "5m": 60_000}, "ticks": {"read": 72_000_000}, "differences": 0}


def flat(value: float) -> Number:
    return lambda _minutes: value


def soak(
    *,
    memory: Number = lambda minutes: 280 + 30 * (minutes % 5 < 1),
    files: Number = lambda minutes: 100 + minutes % 7,
    lines: Number = lambda minutes: 40 + 10 * (minutes % 10 < 5),
    final: Number = lambda minutes: 1.5 + 0.2 * (minutes % 10 < 5),
    live: Number = lambda _minutes: 0.3,
    ticks: Number = lambda _minutes: 20_000,
    **of: Any,
) -> Soak:
    """An hour as it should be, but for what is said."""
    seen = Soak(60, 20_000, 5_000, 5, "w0", settled_s=3.0, verify=(0, VERIFIED))
    for begin in range(0, 60, 5):
        tail = final(begin)
        seen.periods.append(
            Period(
                begin,
                begin + 5,
                round(ticks(begin) * 300),
                round(lines(begin)),
                (tail, 10 * tail, 16.0),
                (live(begin), 9.0, 14.0),
                {"200": 1200, "503": 20},
            )
        )
        seen.kills.append(Kill(begin + 3, "w1", 15.0 + begin % 4))
    for twelfth in range(60 * 12):
        at = twelfth / 12
        for worker in ("w0", "w1"):
            seen.looks.append(Look(at, worker, 7, memory(at), round(files(at))))
    for name, value in of.items():
        setattr(seen, name, value)
    return seen


def failed(seen: Soak) -> list[str]:
    return [finding.what for finding in findings(seen) if not finding.holds]


def test_what_goes_up_and_down_is_flat() -> None:
    assert failed(soak()) == []


def test_what_settles_in_the_first_third_is_flat() -> None:
    assert failed(soak(memory=lambda minutes: min(300, 100 + 10 * minutes))) == []


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        # a MiB and a half a minute; two files each time a worker is killed
        ("memory", lambda minutes: 250 + 1.5 * minutes, "memory of"),
        ("files", lambda minutes: 100 + minutes, "open files of"),
        ("lines", lambda minutes: 20 + 3 * minutes, "log lines a minute"),
        ("lines", flat(500), "log lines a minute"),
        ("final", lambda minutes: 1 + minutes / 15, "finals, "),
        ("live", lambda minutes: 0.1 * 1.08**minutes, "live bars, median"),
        ("ticks", flat(19_000), "ticks a second"),
    ],
    ids=["memory", "files", "more lines", "many lines", "finals", "live", "ticks"],
)
def test_what_grows_from_the_middle_third_to_the_last_is_told(
    name: str, value: Number, told: str
) -> None:
    found = failed(soak(**{name: value}))
    assert found
    assert all(what.startswith(told) for what in found)


@pytest.mark.parametrize(
    ("of", "told"),
    [
        ({"kills": [Kill(3, "w1", 61.0)]}, "after a kill"),
        ({"kills": [Kill(3, "w1", 9.0), Kill(8, "w1", None)]}, "after a kill"),
        ({"kills": []}, "after a kill"),
        ({"ended": ["w0 ended 1: worker stopped"]}, "workers that ended by themselves"),
        ({"settled_s": None}, "after the last tick"),
        ({"verify": (1, VERIFIED)}, "verify"),
        ({"verify": (3, {})}, "verify"),
        ({"verify": None}, "verify"),
    ],
)
def test_what_went_wrong_once_is_told(of: dict[str, Any], told: str) -> None:
    assert failed(soak(**of)) == [told]


@pytest.mark.parametrize(
    "reads", [{"200": 1200, "500": 1}, {"200": 800, "503": 400}, {}], ids=["500", "503", "none"]
)
def test_readers_that_are_not_answered_are_told(reads: dict[str, int]) -> None:
    seen = soak()
    for period in seen.periods:
        period.reads = reads
    assert failed(seen) == ["reads"]


def test_a_period_without_a_final_is_told() -> None:
    seen = soak()
    seen.periods[4].final_s = None
    assert failed(seen) == ["finals"]


def test_two_periods_tell_nothing() -> None:
    seen = soak()
    del seen.periods[2:]
    assert failed(seen) == ["length"]


def test_the_page_says_in_its_first_words_whether_all_held() -> None:
    good, bad = page(soak()), page(soak(settled_s=None))
    assert "All of it held." in good
    assert "it ended 0 after 360,000 bars of 72,000,000 ticks, 0 differences" in good
    assert "**no**" not in good
    assert "It did not hold: after the last tick." in bad
    assert bad.count("**no**") == 1
