"""The schedule changes while a worker runs: what is judged anew, and what stays.

Event times are of January 2024, so the watermark closes and nothing has to be waited for.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick, send_ticks
from tests.pipeline import Pipeline, Record, WorkerProcess, pipeline, until
from tests.prometheus import Prometheus

pytestmark = pytest.mark.kafka

DAY_US = 1440 * MINUTE_US
#: 2024-01-10T10:00Z
THEN_US = 1_704_880_800 * SECOND_US


def ticks_at(day_us: int, minutes: int = 3) -> list[Tick]:
    """Ticks of successive minutes: each closes the one before, the last stays open."""
    return [
        Tick("X", "NEW", day_us + n * MINUTE_US + 20 * SECOND_US, 1.0 + n) for n in range(minutes)
    ]


def load(made: Pipeline, first: str, last: str) -> None:
    made.run(
        "schedule", "load", "--calendar", "24x7", "--broker", "X", "--symbol", "NEW",
        "--from", first, "--to", last, "--yes",
    )  # fmt: skip


def names_unscheduled(worker: WorkerProcess) -> list[tuple[str, str]]:
    return [(s["broker"], s["symbol"]) for s in worker.get("/status")["unscheduled"]]


def rejected(worker: WorkerProcess, reason: str) -> int:
    return int(worker.get("/status")["rejected"].get(reason, 0))


def sessions_on(worker: WorkerProcess, day: str) -> int:
    body = worker.get(f"/schedule/X/NEW?from={day}T00:00:00Z&to={day}T23:59:00Z")
    return len(body["sessions"])


def send(made: Pipeline, ticks: list[Tick]) -> None:
    send_ticks(made.bootstrap, made.names.ticks, ticks)


def finals_of_new(made: Pipeline) -> dict[bytes | None, list[Record]]:
    found: dict[bytes | None, list[Record]] = {}
    for record in made.read(made.names.final_1m):
        found.setdefault(record.key, []).append(record)
    return found


def withdraw_everything(made: Pipeline) -> None:
    """A tombstone for each row, as a program of somebody else may write it."""

    async def go() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=made.bootstrap)
        async with producer:
            for record in made_rows:
                await producer.send_and_wait(
                    made.names.market_schedule,
                    key=record.key,
                    value=None,
                    partition=record.partition,
                )

    made_rows = made.read(made.names.market_schedule)
    asyncio.run(go())


def refused_row_is_told(made: Pipeline, worker: WorkerProcess) -> None:
    """A record of another program's that is no session is an alert; the others stay in force."""
    prometheus = Prometheus(f"http://{worker.host}:{worker.port}")
    assert not prometheus.fires("BarstreamScheduleRowsRefused")

    async def go() -> None:
        async with AIOKafkaProducer(bootstrap_servers=made.bootstrap) as producer:
            await producer.send_and_wait(
                made.names.market_schedule, key=b"X\0THEIRS", value=b"{}", partition=0
            )

    asyncio.run(go())
    until(lambda: prometheus.fires("BarstreamScheduleRowsRefused"), 20, "a row that is none")
    assert sessions_on(worker, "2024-01-12") == 1


@pytest.mark.law("L18")
def test_a_running_worker_follows_the_schedule_and_keeps_its_finals(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    with pipeline(kafka.bootstrap, unique, tmp_path) as made:
        worker = made.worker()

        # no rows: refused, counted, named, and the command that mends it is told
        send(made, ticks_at(THEN_US))
        until(lambda: rejected(worker, "unscheduled") == 3, 15, "ticks refused as unscheduled")
        assert names_unscheduled(worker) == [("X", "NEW")]
        assert "barstream schedule load" in worker.get("/status")["what_to_do"]
        assert "barstream schedule load" in worker.get("/bars/X/NEW")["what_to_do"]
        until(lambda: len(made.rejected()) == 3, 10, "refused ticks in their topic")
        assert {r.headers["reason"] for r in made.rejected()} == {b"unscheduled"}
        assert b"barstream schedule load" in made.rejected()[0].headers["detail"]

        # rows added: the series is scheduled from here on, without a restart
        load(made, "2024-01-08", "2024-01-12")
        until(lambda: sessions_on(worker, "2024-01-10") == 1, 10, "rows known")
        assert names_unscheduled(worker) == [], "it has a schedule now"
        send(made, ticks_at(THEN_US))
        until(lambda: len(made.finals_of("NEW")) == 2, 15, "two finals")
        before = finals_of_new(made)
        assert not worker.get("/status")["what_to_do"]

        # the day of the finals withdrawn: they stay as they are, later ticks of it are refused
        rows = "broker,symbol,trading_date,open,close\n"
        rows += "X,NEW,2024-01-12,2024-01-12T00:00:00Z,2024-01-13T00:00:00Z\n"
        (tmp_path / "rows.csv").write_text(rows, encoding="utf-8")
        made.run(
            "schedule", "load", str(tmp_path / "rows.csv"),
            "--from", "2024-01-08", "--to", "2024-01-12", "--yes",
        )  # fmt: skip
        until(lambda: sessions_on(worker, "2024-01-10") == 0, 10, "rows withdrawn")
        send(made, [Tick("X", "NEW", THEN_US + 5 * MINUTE_US, 9.0)])
        until(lambda: rejected(worker, "off_session") == 1, 10, "refused as off session")
        assert finals_of_new(made) == before

        # a day that is left: the open bar of the withdrawn one closes as it was judged
        send(made, ticks_at(THEN_US + 2 * DAY_US, 1))
        until(lambda: len(made.finals_of("NEW")) > 2, 15, "the open bar closed")
        finals = made.finals_of("NEW")
        assert finals[2]["bucket_start"] == THEN_US + 2 * MINUTE_US
        assert (finals[2]["tick_count"], finals[2]["synthetic"]) == (1, False)
        # then the sessions that are left are filled: from midnight of the 12th on
        midnight = THEN_US // DAY_US * DAY_US + 2 * DAY_US
        assert [bar["bucket_start"] for bar in finals[3:]] == list(
            range(midnight, THEN_US + 2 * DAY_US, MINUTE_US)
        )
        kept = {key: records for key, records in finals_of_new(made).items() if key in before}
        assert kept == before

        refused_row_is_told(made, worker)

        # everything withdrawn: unscheduled again, named again, and not after rows came back
        whole = finals_of_new(made)
        withdraw_everything(made)
        until(lambda: sessions_on(worker, "2024-01-12") == 0, 10, "all rows withdrawn")
        send(made, [Tick("X", "NEW", THEN_US + 2 * DAY_US + MINUTE_US, 9.5)])
        until(lambda: rejected(worker, "unscheduled") == 4, 10, "unscheduled again")
        assert names_unscheduled(worker) == [("X", "NEW")]
        load(made, "2024-01-08", "2024-01-12")
        until(lambda: sessions_on(worker, "2024-01-12") == 1, 10, "rows back")
        # rows that came back open nothing that is closed
        send(made, [Tick("X", "NEW", THEN_US, 9.0)])
        until(lambda: rejected(worker, "late") == 1, 10, "refused as late")
        send(made, [Tick("X", "NEW", THEN_US + 2 * DAY_US + 70 * SECOND_US, 3.0)])
        until(lambda: len(finals_of_new(made)) == len(whole) + 1, 15, "bars go on")
        assert names_unscheduled(worker) == []
        assert {k: r for k, r in finals_of_new(made).items() if k in whole} == whole
        assert worker.stop() == 0
