"""Rules and sessions that change while ticks come: bars keep what they were judged by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from barstream.model.time import MINUTE_US, SECOND_US, us_from_iso
from tests.functional.records import beat, end_offset, send_ticks
from tests.functional.tick_records import Tick
from tests.functional.verification import bar, changed, copies_of, differences, verified
from tests.pipeline import Pipeline, Record, WorkerProcess, pipeline, until
from tests.replay.replays import replay

pytestmark = pytest.mark.kafka

TEN_US = us_from_iso("2024-01-10T10:00:00Z")


def at(symbol: str, second: int, price: float) -> Tick:
    """A tick so long after ten."""
    return Tick("B", symbol, TEN_US + second * SECOND_US, price)


def send(made: Pipeline, *ticks: Tick) -> None:
    """Send ticks, and wait until they are applied."""
    send_ticks(made, ticks)
    end = end_offset(made)
    until(lambda: made.position() >= end, 20, "all is applied")


def load(made: Pipeline, worker: WorkerProcess, file: Path, dates: dict[str, str]) -> None:
    """Load a session of a day for each series, and wait until the worker judges by them."""
    rows = [
        f"B,{symbol},{date},0,{date}T09:00:00Z,{date}T17:00:00Z\n" for symbol, date in dates.items()
    ]
    file.write_text("broker,symbol,trading_date,session,open,close\n" + "".join(rows))
    made.run("schedule", "load", str(file), "--yes")
    read = len(dates)
    until(lambda: worker.get("/status")["scheduled_series"] == read, 20, "the rows are read")


def test_a_schedule_that_comes_after_its_ticks_is_no_difference(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # EARLY   ticks before any row      | the same again, in session
    # WITHIN  ten ticks in a minute     | ten more of it
    # BACK    a session of tomorrow     | and then that of the ticks: they were off session
    with pipeline(kafka.bootstrap, unique, tmp_path, TOPICS__PARTITIONS="1") as made:
        worker = made.worker()
        names, file = ("EARLY", "WITHIN", "BACK"), tmp_path / "rows.csv"
        load(made, worker, file, {"BACK": "2024-01-11"})
        first = [
            *(at("EARLY", second, 1.0 + second) for second in (5, 20, 61, 130)),
            *(at("WITHIN", second, 1.0 + second) for second in range(10)),
            *(at("BACK", second, 1.0 + second) for second in (5, 20, 61, 130)),
        ]
        send(made, *first)
        load(made, worker, file, dict.fromkeys(names, "2024-01-10"))
        send(
            made, *(at("EARLY", second, 1.5 + second) for second in (5, 20, 61, 130)),
            *(at("WITHIN", second, 2.0 + second) for second in range(10, 20)),
            *(at("BACK", second, 1.5 + second) for second in (5, 20, 61, 130)),
        )  # fmt: skip
        for symbol in names:
            beat(made, symbol, TEN_US, end_offset(made))
        until(lambda: len({each["symbol"] for each in made.finals()}) == 3, 20, "all have finals")
        assert worker.stop() == 0
        minute = {
            e["symbol"]: e["tick_count"] for e in made.finals() if e["bucket_start"] == TEN_US
        }
        assert minute == {"EARLY": 2, "WITHIN": 10, "BACK": 2}

        outcome = verified(made.settings)
        assert differences(outcome) == []
        # what the rows of now would have taken in is said, and that is all
        assert {(each.kind, each.rule) for each in outcome.findings.kept} == {
            ("schedule", "session")
        }
        assert sum(each.ticks_total for each in outcome.findings.kept) == len(first)

        # also where no schedule is used any more: that of the log is
        made.options["BARS__SCHEDULE"] = "false"
        assert differences(verified(made.settings)) == []


def test_a_policy_and_a_grace_that_change_both_ways_are_no_difference(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # reject, 5 s    0:10@1  2:10@2  late 0:30@9                       rejected, and stays so
    # revise, 60 s   late 0:40@5  4:30@3 (closes 2 only)  3:20@4       in time by this grace
    # reject, 2 s    4:31@3 (3 was closed at start)  late 3:30@8       rejected
    options = {"TOPICS__PARTITIONS": "1", "BARS__SCHEDULE": "false", "BARS__TIMEFRAMES": "5m"}
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        runs = [
            ("reject", "5", (at("X", 10, 1), at("X", 130, 2), at("X", 30, 9))),
            ("revise", "60", (at("X", 40, 5), at("X", 270, 3), at("X", 200, 4))),
            ("reject", "2", (at("X", 271, 3), at("X", 210, 8))),
            ("revise", "2", (at("X", 20, 0.5), at("X", 700, 3))),
        ]
        for policy, grace_s, ticks in runs:
            made.options |= {"BARS__LATE_POLICY": policy, "BARS__GRACE_S": grace_s}
            worker = made.worker()
            send(made, *ticks)
            assert worker.stop() == 0
        newest = {each["bucket_start"]: each for each in made.finals()}
        first = newest[TEN_US]
        assert (first["high"], first["low"], first["tick_count"]) == (5, 0.5, 3)
        assert first["revision"] == 2
        assert newest[TEN_US + 3 * MINUTE_US]["tick_count"] == 1

        # by whatever settings it is looked at
        for policy, grace_s in (("reject", "5"), ("revise", "120")):
            made.options |= {"BARS__LATE_POLICY": policy, "BARS__GRACE_S": grace_s}
            assert verified(made.settings).findings.kept == []
            said = replay(made, "--suffix", f"s{grace_s}")
            assert (said.code, said.differences) == (0, []), said.text

        # but a bar that has the price of a tick that was rejected is wrong
        def tamper(records: list[Record]) -> list[Record]:
            place = max(n for n, one in enumerate(records) if bar(one)["bucket_start"] == TEN_US)
            lie = changed(records[place], high=9.0)
            return [*records[:place], lie, *records[place + 1 :]]

        found = differences(verified(copies_of(made).with_topic("rate_1m_final", tamper)))
        assert "high" in {each.field for each in found}
