"""Prints of a closing auction that come after the close: loaded, served, verified, replayed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from barstream.model.time import us_from_iso
from tests.functional.handwritten_history import why
from tests.functional.verification import differences, verified
from tests.pipeline import pipeline, until
from tests.replay.replays import replay

pytestmark = pytest.mark.kafka

DAY, NEXT = "2024-01-10", "2024-01-11"
#: Time and price of ticks of one day; the close is at 16:00.
TICKS = (
    ("15:58:10", 10.0), ("15:59:30", 11.0),
    ("16:00:00", 12.0), ("16:01:29.999999", 13.0),  # the auction, until 16:01:30
    ("16:01:30", 99.0), ("16:05:00", 98.0),
)  # fmt: skip


@pytest.mark.law("L3")
def test_prints_after_the_close_are_in_the_last_minute_wherever_one_asks(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    options = {"TOPICS__PARTITIONS": "1", "BARS__TIMEFRAMES": "5m,1d"}
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        hours = tmp_path / "hours.csv"
        lines = [f"B,X,{day},{day}T15:50:00Z,{day}T16:00:00Z" for day in (DAY, NEXT)]
        hours.write_text("\n".join(["broker,symbol,trading_date,open,close", *lines, ""]))
        said = made.run("schedule", "load", str(hours), "--close-tolerance", "90s", "--yes")
        assert "+90 s" in said
        shown = made.run("schedule", "show", "B", "X", "--json").splitlines()
        assert [json.loads(line)["close_tolerance_s"] for line in shown] == [90, 90]

        worker = made.worker()
        ticks = tmp_path / "ticks.csv"
        rows = [f"{DAY}T{time},{price}" for time, price in TICKS]
        rows.append(f"{NEXT}T15:50:01,20")
        ticks.write_text("\n".join(["time,price", *rows, ""]))
        loaded = made.run(
            "ticks", "load", str(ticks), "--map", "time=time", "--map", "price=price",
            "--broker", "B", "--symbol", "X", check=False,
        )  # fmt: skip
        assert "2 make no bar: off_session (the first is B X at 2024-01-10T16:01:30Z)" in loaded
        next_day = us_from_iso(f"{NEXT}T15:50:00Z")
        until(
            lambda: any(bar["bucket_start"] == next_day for bar in made.finals()), 30, "all closed"
        )
        session = worker.get(f"/schedule/B/X?from={DAY}")["sessions"][0]
        assert session["close_tolerance_s"] == 90
        assert worker.stop() == 0

        last = us_from_iso(f"{DAY}T15:59:00Z")
        by_minute = {bar["bucket_start"]: bar for bar in made.finals()}
        assert max(minute for minute in by_minute if minute < next_day) == last
        bar = by_minute[last]
        assert [bar[name] for name in ("open", "high", "low", "close")] == [11.0, 13.0, 11.0, 13.0]
        assert bar["close_time"] == us_from_iso(f"{DAY}T16:01:29.999999Z")
        assert (bar["tick_count"], bar["synthetic"]) == (3, False)

        assert differences(verified(made.settings)) == []
        found = why(made, "X", f"{DAY}T15:59", people=True).report
        assert (found["status"], found["ticks"]["given_by"]["agrees"]) == ("final", True)
        assert len(found["ticks"]["shown"]) == 3
        assert any("16:01:30" in note for note in found["notes"])
        off = why(made, "X", f"{DAY}T16:00")
        assert off.reason == "off_session"
        assert off.report["ticks"] is None or not off.report["ticks"].get("shown")

        same = replay(made, "--suffix", "same")
        assert (same.code, same.differences) == (0, []), same.text
        # from the close on: the prints are of the minute before, and no late ticks of this range
        part = replay(made, "--suffix", "part", "--from", f"{DAY}T16:00:00Z")
        assert (part.code, part.differences) == (0, []), part.text
