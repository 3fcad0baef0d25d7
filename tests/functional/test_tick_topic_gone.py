"""A tick topic that no longer holds what comes next stops the worker, with what mends it."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.records_to_delete import RecordsToDelete

from tests.functional.records import MORNING_US, admin, beat, end_offset, send_ticks
from tests.functional.tick_records import SECOND_US, Tick
from tests.functional.verification import told, verified
from tests.pipeline import Pipeline, WorkerProcess, pipeline, until

pytestmark = pytest.mark.kafka

ALWAYS_OPEN = {"BARS__SCHEDULE": "false", "TOPICS__PARTITIONS": "1"}


def some(count: int, first: int = 0) -> list[Tick]:
    """Ticks a second apart."""
    return [Tick("B", "X", MORNING_US + (first + i) * SECOND_US, 5.0 + i) for i in range(count)]


def delete_topic(made: Pipeline) -> None:
    async def go() -> None:
        async with admin(made) as client:
            await client.delete_topics([made.names.ticks])
            async with asyncio.timeout(20):
                while made.names.ticks in await client.list_topics():  # noqa: ASYNC110  a broker
                    await asyncio.sleep(0.1)

    asyncio.run(go())


def make_again(made: Pipeline) -> None:
    async def go() -> None:
        config = {"message.timestamp.type": "LogAppendTime"}
        async with admin(made) as client:
            for _ in range(100):
                answer = await client.create_topics(
                    [NewTopic(made.names.ticks, 1, 1, topic_configs=config)]
                )
                if answer.topic_errors[0][1] == 0:
                    return
                await asyncio.sleep(0.1)
            raise AssertionError(answer)

    asyncio.run(go())


def cut(made: Pipeline, before: int) -> None:
    """Delete the records below ``before``, as retention does."""

    async def go() -> None:
        async with admin(made) as client:
            place = TopicPartition(made.names.ticks, 0)
            await client.delete_records({place: RecordsToDelete(before_offset=before)})

    asyncio.run(go())


def applied(worker: WorkerProcess, count: int) -> None:
    until(lambda: worker.get("/status")["ticks"] >= count, 20, f"{count} ticks applied")


def committed(made: Pipeline, count: int) -> None:
    """What a worker has applied and not committed when it stops, the next one reads again."""
    until(lambda: made.position() == count, 20, f"{count} ticks committed")


def assert_stops(worker: WorkerProcess, *words: str) -> None:
    """It ends by itself, not with 0, and its last words say what is wrong and what mends it."""
    assert worker.process.wait(40) != 0
    said = worker.tail(3)
    for word in (*words, "BARSTREAM_APP_ID", "barstream topics create"):
        assert word in said, said


def test_a_topic_made_again_while_no_worker_ran_stops_the_next_one(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        worker = made.worker()
        send_ticks(made, [*some(100), *some(1)])  # a minute that is final, and a late tick
        applied(worker, 100)
        until(lambda: len(made.finals()) == 1, 20, "the first minute is final")
        committed(made, 101)
        assert worker.stop() == 0
        delete_topic(made)
        make_again(made)
        # longer than what was applied, so that the offsets tell nothing; of the same minutes
        send_ticks(made, some(250, 3))
        worker = made.worker(wait=False)
        assert_stops(worker, "deleted and made again", made.names.ticks)
        assert len(made.finals()) == 1
        # the mend, with every name the message asks for
        asked = set(re.findall(r"BARSTREAM_([A-Z_]+)", worker.tail(3)))
        assert asked == {
            "APP_ID", "DATA_DIR", "TOPICS__BASE", "TOPICS__HEARTBEATS", "TOPICS__TICKS_REJECTED",
            "TOPICS__SERIES_SEEN",
        }  # fmt: skip
        for name in asked - {"DATA_DIR"}:
            made.options[name] = f"{unique}-anew-{name[-4:].lower()}".replace("_", "-")
        made.run("topics", "create")
        worker = made.worker(directory="anew")
        applied(worker, 250)
        until(lambda: len(made.finals()) == 4, 20, "four minutes are final")
        assert worker.stop() == 0
        keys = [record.key for record in made.read(made.names.final_1m)]
        assert len(keys) == len(set(keys)), "one final per bucket"
        assert told(verified(made.settings)) == []


@pytest.mark.law("L20")
@pytest.mark.parametrize("again", [True, False])
def test_a_topic_deleted_under_a_running_worker_stops_it(
    kafka: Any, unique: str, tmp_path: Path, again: bool
) -> None:
    # it must not go on at offset 0 of the new one, nor skip what lies below its old position
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        worker = made.worker()
        send_ticks(made, some(10))
        applied(worker, 10)
        delete_topic(made)
        if again:
            make_again(made)
            send_ticks(made, some(50, 600))
        assert_stops(worker, "deleted", made.names.ticks)
        assert not made.finals(), "ticks of the new topic closed a bar of the old"


@pytest.mark.law("L20")
def test_a_topic_made_again_while_its_worker_was_frozen_stops_it(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # it sees no error: the first fetch of the new topic brings the very offset that comes next,
    # from a leader with the same epoch
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        worker = made.worker()
        send_ticks(made, some(10))
        applied(worker, 10)
        worker.signal(signal.SIGSTOP)
        delete_topic(made)
        make_again(made)
        send_ticks(made, some(50, 600))
        worker.signal(signal.SIGCONT)
        assert_stops(worker, "deleted and made again", made.names.ticks)
        assert not made.finals(), "ticks of the new topic closed a bar of the old"


def test_ticks_deleted_before_they_were_applied_stop_the_worker(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # applied 0..9, stopped, 10..59 sent, retention takes everything below 40
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        worker = made.worker()
        send_ticks(made, some(10))
        committed(made, 10)
        assert worker.stop() == 0
        send_ticks(made, some(50, 10))
        cut(made, 40)
        worker = made.worker(wait=False)
        assert_stops(worker, "must go on at offset 10", "begins at 40", "30 offsets were deleted")
        assert not made.finals()


def test_a_barrier_beyond_the_end_of_the_topic_stops_the_worker(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # whoever sent it saw a longer topic
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        worker = made.worker()
        send_ticks(made, some(3))
        applied(worker, 3)
        beat(made, "X", MORNING_US, 1_000)
        assert_stops(worker, "offset 1000", "ends at 3")
        assert not made.finals()


def test_ticks_deleted_after_they_were_applied_are_not_missed(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        worker = made.worker()
        send_ticks(made, some(10))
        committed(made, 10)
        cut(made, 10)
        assert worker.stop() == 0
        worker = made.worker()
        send_ticks(made, some(10, 10))
        beat(made, "X", MORNING_US, end_offset(made))
        until(lambda: bool(made.finals()), 20, "the bar of all of them")
        assert made.finals()[0]["tick_count"] == 20
        assert worker.stop() == 0


def test_a_partition_that_begins_above_zero_is_started_there_also_by_heartbeats_alone(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # 0..9 deleted before any worker ran; a heartbeat is all there is; then a restart, then ticks
    with pipeline(kafka.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        send_ticks(made, some(10))
        cut(made, 10)
        beat(made, "X", MORNING_US - 60 * SECOND_US, 10)
        worker = made.worker()
        until(_written(made), 15, "a position row")
        assert worker.stop() == 0
        worker = made.worker()
        send_ticks(made, some(5))
        applied(worker, 5)
        assert worker.stop() == 0


def _written(made: Pipeline) -> Callable[[], bool]:
    return lambda: bool(made.read(made.names.series))
