"""The tick topic is deleted and made again: the worker must stop, and say what mends it."""

from __future__ import annotations

import asyncio

from aiokafka.admin import NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from barstream.codecs.avro import encode
from barstream.kafka import admin_client
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.faults.sending import Row, send
from tests.pipeline import Pipeline, until


class TopicRecreated(Fault):
    """After the verdict, because nothing comes after it: an end that is expected."""

    name = "topic_recreated"
    drawn = False
    ends_workers = True

    def begin(self, scene: Scene) -> str:
        return "comes after the verdict"

    def after(self, scene: Scene) -> None:
        """Every worker stops, each time it is started, and nothing more is published."""
        made = scene.made
        before = made.read(made.names.final_1m)
        asyncio.run(_make_again(made))
        tick = {"broker": "CHX", "symbol": "S00", "time": scene.feed.clock_us, "price": 1.0}
        value = encode("tick", tick | {"size": 1.0})
        send(made, [Row(made.names.ticks, b"CHX\0S00", value) for _ in range(5)])
        slots = [slot for slot in scene.crew.slots if slot.wanted]
        until(lambda: all(_refusals(slot.ended) >= 2 for slot in slots), 90, "all refuse twice")
        for slot in slots:
            slot.wanted = False
        assert made.read(made.names.final_1m) == before, "something was published all the same"
        scene.notes.append("every worker stopped with the command that mends it, twice")


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
