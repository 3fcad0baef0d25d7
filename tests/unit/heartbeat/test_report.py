"""Comparing the leader's clock with the broker's append times."""

from __future__ import annotations

import pytest

from barstream.heartbeat.producer import Appended
from barstream.heartbeat.report import HeartbeatReport, clock_offset_us

SECOND_US = 1_000_000
NOON_US = 1_709_553_600 * SECOND_US


def appended(at_us: int) -> list[Appended]:
    whole_ms = at_us - at_us % 1000
    return [Appended(1, whole_ms, whole_ms)]


def test_an_append_between_sending_and_acknowledgement_says_nothing_against_the_clock() -> None:
    slow_ack = NOON_US + 5 * SECOND_US
    assert clock_offset_us(NOON_US, slow_ack, appended(NOON_US + 4 * SECOND_US)) == 0
    assert clock_offset_us(NOON_US + 700, slow_ack, appended(NOON_US + 700)) == 0  # whole ms


def test_a_fast_clock_is_positive_and_a_slow_one_negative() -> None:
    ahead = clock_offset_us(NOON_US + 2 * SECOND_US, NOON_US + 2 * SECOND_US, appended(NOON_US))
    assert ahead == 2 * SECOND_US - 999
    behind = clock_offset_us(NOON_US, NOON_US, appended(NOON_US + 2 * SECOND_US))
    assert behind == -2 * SECOND_US


def test_without_append_times_the_clock_cannot_be_judged() -> None:
    assert clock_offset_us(NOON_US, NOON_US, [Appended(1, None, None)]) is None
    report = HeartbeatReport()
    report.compare_clocks(NOON_US, NOON_US, [Appended(1, None, None)])
    assert report.unchecked
    assert not report.clock_wrong


@pytest.mark.parametrize(
    ("off_us", "wrong"),
    [(900_000, False), (1_100_000, True), (-900_000, False), (-1_100_000, True)],
)
def test_more_than_a_second_either_way_is_wrong(off_us: int, wrong: bool) -> None:
    report = HeartbeatReport()
    report.compare_clocks(NOON_US + off_us, NOON_US + off_us, appended(NOON_US))
    assert report.clock_wrong is wrong
    assert report.compare_clocks(NOON_US, NOON_US, appended(NOON_US)) is wrong
    assert not report.clock_wrong
