"""Whatever happens to the data directory, bars are right after what the worker says was done."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rocksdict import Options, Rdict

from tests.chaos.drill import long_drill
from tests.functional.records import MORNING_US, admin, send_ticks
from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick
from tests.pipeline import Pipeline, WorkerProcess, pipeline, until
from tests.unit.partition.disk import overwrite, sst_of

pytestmark = pytest.mark.kafka

OPTIONS = {"BARS__SCHEDULE": "false", "TOPICS__PARTITIONS": "1", "BARS__TIMEFRAMES": "5m"}
BEFORE, AFTER = 400, 20


def minutes(first: int, count: int) -> list[Tick]:
    """A tick a minute, each with a price of its own, late enough to close the minute before."""
    return [
        Tick("B", "X", MORNING_US + minute * MINUTE_US + 10 * SECOND_US, 1.0 + minute)
        for minute in range(first, first + count)
    ]


def tables(tmp_path: Path) -> Path:
    return tmp_path / "w0" / "v1" / "tables"


def sorted_file(tmp_path: Path, table: str) -> Path:
    """The file that holds the rows of a table, which the worker may still have had in its log."""
    path = tables(tmp_path) / f"{table}-0.db"
    database = Rdict(str(path), Options(raw_mode=True))
    database.flush()
    database.close()
    return sst_of(path)


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


HARM: dict[str, Callable[[Path], None]] = {
    "block of the series": lambda path: overwrite(sorted_file(path, "series"), 0.1),
    "block of the finals": lambda path: overwrite(sorted_file(path, "rate_1m_final"), 0.3),
    "cut file": lambda path: os.truncate(sorted_file(path, "rate_1m_final"), 50),
    "CURRENT": lambda path: overwrite(tables(path) / "series-0.db" / "CURRENT", 0.0),
    "MANIFEST": lambda path: overwrite(next((tables(path) / "series-0.db").glob("MANIFEST*")), 0),
    "other format": lambda path: rewrite(tables(path) / "barstream-state.json", format=99),
    "other cluster": lambda path: rewrite(tables(path) / "barstream-state.json", cluster="other"),
    "earlier version": lambda path: (tables(path) / "barstream-state.json").unlink(),
}


#: The others are tried on single tables in tests/unit/engine, and here by `make chaos`.
ALWAYS = ("block of the finals", "other format")


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(harm, id=name, marks=() if name in ALWAYS else [pytest.mark.chaos, long_drill])
        for name, harm in HARM.items()
    ],
)
def test_after_harm_to_the_data_directory_every_bar_is_there_and_right(
    kafka: Any, unique: str, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """The worker may end, and says why; started again all is good, and nothing is thrown away."""
    with pipeline(kafka.bootstrap, unique, tmp_path, **OPTIONS) as made:
        worker = made.worker()
        send_ticks(made, minutes(0, BEFORE))
        until(lambda: len(made.finals()) == BEFORE - 1, 30, "bars before the harm")
        assert worker.stop() == 0
        harm(tmp_path)
        worker = made.worker(wait=False)
        until(lambda: worker.ready or ended(worker), 60, "ready or ended")
        until(lambda: ended(worker) or right(worker, BEFORE - 1), 30, "bars are right, or it ends")
        if ended(worker):
            assert "started again" in worker.tail(3)
            worker = made.worker()
        assert right(worker, BEFORE - 1)
        assert list(tables(tmp_path).parent.rglob("*unusable-*")) + list(
            tables(tmp_path).parent.rglob("*damaged-*")
        ), "what was moved aside is kept"
        send_ticks(made, minutes(BEFORE, AFTER))
        until(lambda: len(made.finals()) >= BEFORE + AFTER - 1, 30, "bars after the harm")
        assert [bar["open"] for bar in made.finals()] == [
            1.0 + minute for minute in range(BEFORE + AFTER - 1)
        ], "each once"
        assert right(worker, BEFORE + AFTER - 1)
        assert worker.stop() == 0


def test_a_changelog_that_was_made_again_is_refused_until_its_copy_is_moved_away(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    with pipeline(kafka.bootstrap, unique, tmp_path, **OPTIONS) as made:
        worker = made.worker()
        send_ticks(made, minutes(0, BEFORE))
        until(lambda: len(made.finals()) == BEFORE - 1, 30, "bars")
        assert worker.stop() == 0
        delete(made, made.names.final_1m)
        made.run("topics", "create")
        for _ in range(2):
            worker = made.worker(wait=False)
            assert worker.process.wait(60) == 1
            said = worker.tail(3)
            assert f"{made.names.final_1m} must be the topic" in said
            assert f"mv {tables(tmp_path)}" in said
        tables(tmp_path).rename(tmp_path / "old")
        worker = made.worker()
        send_ticks(made, minutes(BEFORE, AFTER))
        until(lambda: len(made.finals()) == AFTER, 30, "bars of the new topic")
        assert worker.stop() == 0


def ended(worker: WorkerProcess) -> bool:
    return worker.process.poll() is not None


def right(worker: WorkerProcess, count: int) -> bool:
    """Whether the worker answers so many finals of minutes, and the open one, as they must be."""
    try:
        answer = worker.get("/bars/B/X?timeframe=1m&limit=10000")
    except OSError:
        return False
    opens = [bar["open"] for bar in answer.get("bars", ())]
    # the last one is open yet
    return opens == [1.0 + minute for minute in range(count + 1)]


def delete(made: Pipeline, topic: str) -> None:
    async def go() -> None:
        async with admin(made) as client:
            await client.delete_topics([topic])
            async with asyncio.timeout(20):
                while topic in await client.list_topics():  # noqa: ASYNC110  a broker
                    await asyncio.sleep(0.1)

    asyncio.run(go())
