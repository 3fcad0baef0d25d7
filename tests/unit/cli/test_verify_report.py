"""What `barstream verify` prints: one line for what is alike in one minute."""

from __future__ import annotations

import pytest

from barstream.cli.verify_report import print_report
from barstream.model.time import MINUTE_US, us_from_iso
from barstream.verify.findings import Finding, ShownTick
from barstream.verify.scan import Accounts
from barstream.verify.task import Outcome

TEN_US = us_from_iso("2024-01-10T10:00:00Z")
SERIES = ("B", "X", "1m", TEN_US)


def printed(capsys: pytest.CaptureFixture[str], *findings: Finding) -> list[str]:
    outcome = Outcome(bars={"1m": 3})
    for finding in findings:
        outcome.findings.add(finding)
    print_report(outcome, sessions=False)
    return capsys.readouterr().out.splitlines()


def test_fields_of_one_minute_are_one_line_that_names_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ticks = (ShownTick(7, TEN_US, 1.5, 2.0),)
    lines = printed(
        capsys,
        *(
            Finding(
                "difference", "field", 0, f"{name} must be what its ticks give", *SERIES, None,
                name, expected, published, ticks, 1,
            )
            for name, expected, published in (("high", 1.5, 9.0), ("open_time", TEN_US, TEN_US + 1))
        ),
        Finding("difference", "live", 0, "its live record must equal the final", *SERIES),
    )  # fmt: skip
    assert lines[:5] == [
        "Differences: 3",
        "  B X 1m 2024-01-10T10:00:00Z (partition 0): high, open_time, live",
        (
            "    high expected 1.5, published 9.0; open_time expected 2024-01-10T10:00:00.000000Z, "
            "published 2024-01-10T10:00:00.000001Z: must be what its ticks give"
        ),
        "    live: its live record must equal the final",
        "      offset 7  2024-01-10T10:00:00.000000Z  price 1.5  size 2.0",
    ]


def test_many_ticks_of_one_minute_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(
        capsys,
        *(
            Finding(
                "difference", "rejected", 0, f"tick {offset} must be rejected as late", *SERIES,
                offset, "reason", "late", said, (ShownTick(offset, TEN_US + offset, 1.0, 1.0),), 1,
            )
            for offset, said in [*((offset, None) for offset in range(30)), (40, "future")]
        ),
        Finding(
            "difference", "missing", 0, "it must have a final", "B", "X", "1m", TEN_US + MINUTE_US
        ),
    )  # fmt: skip
    assert lines[1:4] == [
        "  B X 1m 2024-01-10T10:00:00Z (partition 0): rejected",
        "    rejected: 30 ticks, at offsets 0 to 29: must be rejected as late; published none",
        "    rejected: tick 40: must be rejected as late; published future",
    ]
    assert sum("  offset " in line for line in lines) == 20
    assert "      ... 31 ticks in all" in lines
    assert "  B X 1m 2024-01-10T10:01:00Z (partition 0): missing" in lines


def test_a_record_that_is_no_tick_stands_under_its_partition(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = printed(
        capsys,
        Finding(
            "difference", "rejected", 3, "tick 5 must be rejected as undecodable",
            timeframe="1m", offset=5, field="reason", expected="undecodable", published="future",
        ),
    )  # fmt: skip
    assert lines[1:3] == [
        "  partition 3: rejected",
        "    rejected: tick 5: must be rejected as undecodable; published future",
    ]


def test_the_summary_leaves_out_what_there_is_none_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys) == [
        "bars: 3 of 1m",
        "minutes: 0 series, 0 sessions; 0 expected, 0 real",
        "ticks: 0 asked for; 0 in finals (0 records read)",
        "no differences (0.0 s)",
    ]
    accounts = Accounts(
        read=1_209, ticks=1_200, in_bars=1_187, late=2, refused=10, elsewhere=6, unscheduled=3,
        off_session=1,
    )  # fmt: skip
    outcome = Outcome(bars={"1m": 3}, accounts=accounts, causes={"watermark": 3, "heartbeat": 0})
    outcome.findings.add(Finding("unproven", "close", 0, "it is gone", *SERIES))
    outcome.findings.add(Finding("difference", "missing", 0, "it must have a final", *SERIES))
    print_report(outcome, sessions=False)
    places = (
        "1,187 in finals, 2 late, 6 in a second partition, 3 unscheduled, 1 rejected otherwise, "
        "1 off session"
    )
    assert capsys.readouterr().out.splitlines()[-3:] == [
        f"ticks: 1,200 asked for; {places} (1,209 records read)",
        "closed: 3 by watermark",
        "1 difference, 1 unproven (0.0 s)",
    ]
