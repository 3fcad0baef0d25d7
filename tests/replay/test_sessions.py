"""Sessions, a series that fell asleep, and one whose schedule was missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from barstream.codecs.topics.bar import decode_bar
from barstream.model.time import iso_date_from_days, iso_from_us
from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick, send_ticks
from tests.pipeline import Pipeline, WorkerProcess, pipeline, until
from tests.replay.replays import Values, finals, newest, replay, shadows

pytestmark = pytest.mark.kafka

DAY_US = 1440 * MINUTE_US
#: A Monday.
FIRST = 19_786
OPEN_US, LENGTH_US = 600 * MINUTE_US, 12 * MINUTE_US
OPTIONS = {"TOPICS__PARTITIONS": "1", "BARS__TIMEFRAMES": "5m,1d,1wk"}


def at(day: int, minute: int, second: int = 7) -> int:
    """An instant of the session of a day, by its number from the first."""
    return (FIRST + day) * DAY_US + OPEN_US + minute * MINUTE_US + second * SECOND_US


def schedule(path: Path, symbol: str, days: int) -> Path:
    """Sessions of twelve minutes on ``days`` days."""
    rows = [
        f"B,{symbol},{iso_date_from_days(FIRST + day)},{iso_from_us(at(day, 0, 0))},"
        f"{iso_from_us(at(day, 0, 0) + LENGTH_US)}"
        for day in range(days)
    ]
    path.write_text("\n".join(["broker,symbol,trading_date,open,close", *rows, ""]))
    return path


def ticks_of(symbol: str, days: list[int]) -> list[Tick]:
    """Ticks in some minutes of these days, one of them before the open."""
    found = [Tick("B", symbol, at(days[0], -3), 1.0)]
    for day in days:
        found += [Tick("B", symbol, at(day, m), 10 + day + m / 8, 0.1) for m in (1, 2, 5, 6, 11)]
    return found


def served(worker: WorkerProcess, symbol: str) -> list[dict[str, Any]]:
    body = worker.get(f"/bars/B/{symbol}?from=2024-01-01T00:00:00Z&limit=5000")
    return [bar for bar in body["bars"] if bar["status"] == "final"]


def minutes(values: Values, symbol: str) -> dict[int, tuple[float, bool]]:
    bars = [decode_bar(value) for value in values.values()]
    return {b.bucket_start_us: (b.close, b.synthetic) for b in bars if b.symbol == symbol}


def lived(made: Pipeline, tmp_path: Path) -> WorkerProcess:
    """SLEEPY has ticks on two days, then none for nine dates, then on two; LOST has no schedule."""
    file = schedule(tmp_path / "sleepy.csv", "SLEEPY", 40)
    made.run("schedule", "load", str(file), "--yes")
    worker = made.worker()
    some = ticks_of("SLEEPY", [0, 1]) + ticks_of("LOST", [0, 1, 2])
    some += ticks_of("SLEEPY", [11, 12, 13])
    send_ticks(made.bootstrap, made.names.ticks, some)
    until(lambda: len(made.finals_of("SLEEPY")) >= 100, 40, "all closed but the last")
    until(lambda: len(made.rejected()) >= 16, 40, "all of LOST rejected")
    return worker


def test_asleep_stretches_sessions_and_a_schedule_that_was_missing(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    with pipeline(kafka.bootstrap, unique, tmp_path, **OPTIONS) as made:
        worker = lived(made, tmp_path)
        buckets = sorted(minutes(newest(made, made.names.final_1m), "SLEEPY"))
        # it falls asleep at the open of the date after five without a tick
        assert at(6, 11, 0) in buckets
        assert not [us for us in buckets if at(7, 0, 0) <= us < at(11, 0, 0)]

        same = replay(made, "--suffix", "same")
        assert (same.code, same.differences) == (0, []), same.text
        # from within the sleep on: it wakes with its next tick, and fills nothing before it
        part = replay(made, "--suffix", "part", "--from", iso_from_us(at(9, 4, 0)))
        assert (part.code, part.differences) == (0, []), part.text
        shadow = newest(made, shadows(made, "part")[made.names.final_1m])
        assert min(minutes(shadow, "SLEEPY")) == at(11, 1, 0)

        file = schedule(tmp_path / "lost.csv", "LOST", 40)
        said = replay(made, "--suffix", "found", "--schedule", str(file))
        assert said.code == 1, said.text
        assert {(each["symbol"], each["kind"]) for each in said.differences} == {
            ("LOST", "only_replayed")
        }
        found = minutes(newest(made, shadows(made, "found")[made.names.final_1m]), "LOST")
        assert sorted(us for us, (_, flat) in found.items() if not flat) == [
            at(day, minute, 0) for day in (0, 1, 2) for minute in (1, 2, 5, 6, 11)
        ][:-1]  # fmt: skip

        made.run("schedule", "load", str(file), "--yes")
        assert worker.stop() == 0
        done = replay(made, "switch", "--suffix", "found", "--yes")
        assert done.code == 0, done.text
        assert replay(made, "diff", "--suffix", "found").code == 0
        worker = made.worker()
        assert {b["bucket_start"]: b["close"] for b in served(worker, "LOST")} == {
            iso_from_us(us): close for us, (close, _) in found.items()
        }
        # it goes on from where the replay ended: the last minute of day 2 is closed by the next
        # tick, and nothing is made twice or left out
        send_ticks(made.bootstrap, made.names.ticks, ticks_of("LOST", [3])[1:])
        until(lambda: at(3, 6, 0) in minutes(newest(made, made.names.final_1m), "LOST"), 40, "LOST")
        after = minutes(newest(made, made.names.final_1m), "LOST")
        first, last = at(0, 1, 0), max(after)
        assert sorted(after) == [
            at(day, minute, 0) for day in range(4) for minute in range(12)
            if first <= at(day, minute, 0) <= last
        ]  # fmt: skip
        assert all(not bar["revision"] for bar in served(worker, "LOST"))
        made.run("replay", "--suffix", "after")
        assert len(finals(made)) == 4
