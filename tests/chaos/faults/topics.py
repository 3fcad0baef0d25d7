"""The tick topic is deleted and made again: the worker must stop, and say what mends it."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from aiokafka.admin import NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from barstream.codecs.avro import decode, encode
from barstream.core.keys import series_key
from barstream.kafka import admin_client
from barstream.topics import create
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.faults.sending import Row, send
from tests.chaos.runs import judge
from tests.pipeline import Pipeline, Record, until

_SETTLE_S: Final = 120.0
#: The series of the first ticks of the new topic: later than all of before.
_AHEAD: Final = ("CHX", "S00")


class TopicRecreated(Fault):
    """After the verdict: the workers must stop, and the mend that they name must end well."""

    name = "topic_recreated"
    drawn = False
    ends_workers = True

    def begin(self, scene: Scene) -> str:
        return "comes after the verdict"

    def after(self, scene: Scene) -> None:
        """Every worker stops at each start, until it is given the names that it asks for."""
        made = scene.made
        ticks, before = made.read(made.names.ticks), made.read(made.names.final_1m)
        asyncio.run(_make_again(made))
        broker, symbol = _AHEAD
        tick = {"broker": broker, "symbol": symbol, "time": scene.feed.clock_us, "price": 1.0}
        value = encode("tick", tick | {"size": 1.0})
        send(made, [Row(made.names.ticks, series_key(*_AHEAD), value) for _ in range(5)])
        slots = [slot for slot in scene.crew.slots if slot.wanted]
        until(lambda: all(_refusals(slot.ended) >= 2 for slot in slots), 90, "all refuse twice")
        for slot in slots:
            slot.wanted = False
        until(lambda: not scene.crew.running, 40, "all have ended")
        assert made.read(made.names.final_1m) == before, "something was published all the same"
        scene.notes.append("every worker stopped with the command that mends it, twice")
        _mend(scene, slots[0].ended[-1][1], len(slots))
        # what was in the old topic, again: "load the ticks again where you have them"
        send(made, [Row(made.names.ticks, one.key, one.value, one.partition) for one in ticks])
        scene.crew.settle(_SETTLE_S)
        _assert_come_again(made, before)
        found = judge.verify(made)
        assert (found.code, found.differences) == (0, []), found.said
        scene.notes.append("under new names verify is clean, with one final per bucket")


def _mend(scene: Scene, words: str, workers: int) -> None:
    """Do what the last words of a worker say; a new slot has a data directory of its own."""
    made = scene.made
    asked = set(re.findall(r"BARSTREAM_([A-Z_]+)", words))
    assert {"APP_ID", "DATA_DIR", "TOPICS__BASE"} <= asked, words
    for name in asked - {"DATA_DIR"}:
        made.options[name] = f"{made.name}-anew-{name.rpartition('__')[2].lower()}"
    asyncio.run(create(made.settings))
    for _ in range(workers):
        scene.crew.add()


def _assert_come_again(made: Pipeline, before: list[Record]) -> None:
    """One final per bucket, and all there were but for the last of each series.

    Those a heartbeat may have closed: nobody sends any of a series that is history by now.  Of
    `_AHEAD` all is late after the ticks that no worker was to take.
    """
    keys = [record.key for record in made.read(made.names.final_1m) if record.value]
    if made.settings.bars.late_policy == "reject":
        assert len(keys) == len(set(keys)), "a bucket has two finals"
    last: dict[bytes, bytes] = {}
    wanted: set[bytes] = set()
    for record in before:
        if record.key is None or record.key.startswith(series_key(*_AHEAD)):
            continue
        if decode("bar", record.value or b"")["tick_count"]:
            series = record.key[: -len("2013-01-01T22:00:00Z")]
            last[series] = max(last.get(series, b""), record.key)
            wanted.add(record.key)
    lacking = wanted - set(last.values()) - set(keys)
    assert not lacking, f"bars that have not come again: {sorted(lacking)[:5]}"


def _refusals(ended: list[tuple[int, str]]) -> int:
    return sum(
        code == 1 and "made again" in words and "BARSTREAM_APP_ID" in words for code, words in ended
    )


async def _make_again(made: Pipeline) -> None:
    topic, partitions = made.names.ticks, made.settings.topics.partitions
    config = {"message.timestamp.type": "LogAppendTime"}
    async with admin_client(made.settings) as admin:
        await admin.delete_topics([topic])
        async with asyncio.timeout(30):
            while True:
                # a broker goes on deleting for a while
                new = NewTopic(topic, partitions, 1, topic_configs=config)
                answer = await admin.create_topics([new])
                code = answer.topic_errors[0][1]
                if code == 0:
                    return
                if for_code(code) is not TopicAlreadyExistsError:
                    raise for_code(code)
                await asyncio.sleep(0.1)
