"""`barstream verify` where late ticks revise, sessions change, ticks were aborted; real ticks."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from barstream.model.time import MINUTE_US, SECOND_US, us_from_iso
from tests.functional.recorded_ticks import FILES, Recorded
from tests.functional.tick_records import Tick, send_ticks
from tests.functional.topics import put_transaction
from tests.functional.verification import bar, changed, copies_of, told, verified
from tests.pipeline import Pipeline, Record, pipeline, until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

DAY_US = 1440 * MINUTE_US
#: Wednesday, 2024-01-10T10:00Z.
OPEN_US = us_from_iso("2024-01-10T10:00:00Z")
ROWS = "broker,symbol,trading_date,session,open,close\n"


def test_recorded_ticks_of_three_feeds_came_out_right(recorded: Recorded) -> None:
    outcome = verified(recorded.made.settings)
    assert told(outcome) == []
    # the sessions of all three files cover them whole
    assert outcome.accounts.ticks > 100_000
    assert outcome.accounts.in_bars == outcome.accounts.ticks
    assert set(outcome.bars) >= {"1m", "5m", "1h", "1d"}
    assert {(each.broker, each.symbol) for each in outcome.sessions} == {
        (file.broker, file.symbol) for file in FILES
    }


def test_bars_that_late_ticks_revised_are_right_and_one_that_lost_them_is_not(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # |--- three hours, closed ---|, then 60 late ticks, empty minutes among their minutes
    options = {
        "BARS__SCHEDULE": "false", "BARS__LATE_POLICY": "revise", "BARS__TIMEFRAMES": "5m,1h,1d",
        "TOPICS__PARTITIONS": "1",
    }  # fmt: skip
    rng = random.Random(5)
    ticks = [
        Tick("B", "X", OPEN_US + minute * MINUTE_US + rng.randrange(MINUTE_US), 100 + rng.random(),
             rng.choice([0.1, 0.3, 1.0]))
        for minute in range(180) if rng.random() < 0.6
    ]  # fmt: skip
    late = [
        Tick("B", "X", OPEN_US + rng.randrange(150 * MINUTE_US), 90 + 20 * rng.random(), 0.7)
        for _ in range(60)
    ]
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        worker = made.worker()
        send_ticks(kafka.bootstrap, made.names.ticks, ticks)
        until(lambda: len(made.finals()) > 170, 60, "closed by the watermark")
        send_ticks(kafka.bootstrap, made.names.ticks, late)
        closed_us = MINUTE_US + max(int(each["bucket_start"]) for each in made.finals())
        counted = sum(tick.time_us < closed_us for tick in (*ticks, *late))
        until(lambda: _in_bars(made) >= counted, 60, "all late ticks merged")
        worker.stop()
        outcome = verified(made.settings)
        assert told(outcome) == []
        assert sum(each.revised for each in outcome.sessions) > 40

        def tamper(records: list[Record]) -> list[Record]:
            # back to what it was before its last late tick
            newest = {record.key: record for record in records}
            last = next(each for each in reversed(records) if not bar(each)["synthetic"])
            first = next(each for each in records if each.key == last.key)
            assert newest[last.key] is last
            again = changed(first, revision=bar(last)["revision"] + 1)
            return [*records, again]

        found = verified(copies_of(made).with_topic("rate_1m_final", tamper))
        assert found.findings.number("difference")


def _in_bars(made: Pipeline) -> int:
    """Ticks in the newest version of each bar."""
    newest = {record.key: bar(record) for record in made.read(made.names.final_1m)}
    return sum(int(each["tick_count"]) for each in newest.values())


def sessions(made: Pipeline, directory: Path, *rows: tuple[int, int, int]) -> None:
    """Replace the schedule of X NEW on 2024-01-10: number, open and close in seconds after ten."""
    lines = [
        f"X,NEW,2024-01-10,{number},{_clock(open_s)},{_clock(close_s)}\n"
        for number, open_s, close_s in rows
    ]
    (directory / "rows.csv").write_text(ROWS + "".join(lines), encoding="utf-8")
    made.run("schedule", "load", str(directory / "rows.csv"), "--yes")


def _clock(seconds: int) -> str:
    hour, rest = divmod(10 * 3600 + seconds, 3600)
    return f"2024-01-10T{hour:02}:{rest // 60:02}:{rest % 60:02}Z"


def test_sessions_gate_ticks_and_a_row_that_comes_later_is_no_difference(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # 10:00:30 |=== session 0 ===| 10:20:30   10:30 |== session 1 ==| 10:45
    options = {"TOPICS__PARTITIONS": "1", "BARS__PUBLISH_OFF_SESSION": "true"}
    rng = random.Random(6)
    ticks = [
        Tick("X", "NEW", OPEN_US + at * 10 * SECOND_US + rng.randrange(SECOND_US), 1 + rng.random())
        for at in range(300)
        if not 60 <= at % 120 < 72
    ]
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        sessions(made, tmp_path, (0, 30, 1230), (1, 1800, 2700))
        worker = made.worker()
        half = len(ticks) // 2
        send_ticks(kafka.bootstrap, made.names.ticks, ticks[:half])
        aborted = [Tick("X", "NEW", ticks[half].time_us, 99.0 + n) for n in range(5)]
        asyncio.run(
            put_transaction(
                kafka.bootstrap, made.names.ticks, [(t.key, t.value) for t in aborted], commit=False
            )
        )
        send_ticks(kafka.bootstrap, made.names.ticks, ticks[half:])
        until(lambda: len(made.finals()) >= 21 + 14, 30, "the sessions closed")
        worker.stop()

        outcome = verified(made.settings)
        assert told(outcome) == []
        assert outcome.accounts.ticks == len(ticks), "an aborted tick is no tick"
        assert outcome.accounts.off_session > 20
        reports = [(each.session, each.expected, each.missing) for each in outcome.sessions]
        assert reports[0] == (0, 21, 0)

        # the first session opens a minute later and closes earlier: what is final stays
        sessions(made, tmp_path, (0, 90, 1100), (1, 1800, 2700))
        later = verified(made.settings)
        assert later.findings.number("difference") == 0, told(later)
        assert later.findings.number("schedule") > 0

        # but a price that no session explains is a difference still
        def tamper(records: list[Record]) -> list[Record]:
            at = next(n for n, each in enumerate(records) if bar(each)["tick_count"] > 2)
            return [*records[:at], changed(records[at], high=7.0), *records[at + 1 :]]

        wrong = verified(copies_of(made).with_topic("rate_1m_final", tamper))
        assert ("difference", "field", "high") in told(wrong)
