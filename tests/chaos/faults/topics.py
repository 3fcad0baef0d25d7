"""The tick topic loses what was applied: the worker must stop, and say what mends it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Any, ClassVar, Final

from aiokafka.admin import NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from barstream.codecs.avro.body import decode, encode
from barstream.kafka.connection import admin_client
from barstream.kafka.partitioner import default_partition
from barstream.kafka.topics import create
from barstream.model.key import series_key
from barstream.model.time import MINUTE_US, iso_from_us
from tests import lost_tail
from tests.chaos.faults.base import Fault, Scene
from tests.chaos.faults.raw_records import Row, send
from tests.chaos.runs import judge
from tests.chaos.runs.crew import Slot
from tests.pipeline import Pipeline, Record, until

_SETTLE_S: Final = 120.0
#: Theirs; no other tick has it.
_AHEAD_PRICE: Final = 1.0


class TicksGone(Fault):
    """After the verdict: the workers must stop, and the mend that they name must end well.

    Attributes:
        said: what they must say of it.
        others: the series of the ticks that no worker is to take.
    """

    ends_workers = True
    said: ClassVar[str]
    others: tuple[str, str]

    def begin(self, scene: Scene) -> str:
        return "comes after the verdict"

    def harm(self, scene: Scene, ticks: list[Record]) -> list[Record]:
        """Do it; which of ``ticks`` are gone."""
        raise NotImplementedError

    def after(self, scene: Scene) -> None:
        """Every worker stops at each start, until it is given the names that it asks for."""
        made = scene.made
        ticks, before = made.read(made.names.ticks), made.read(made.names.final_1m)
        gone = self.harm(scene, ticks)
        slots = [slot for slot in scene.crew.slots if slot.wanted]

        def refusals() -> list[str]:
            # one of three may never be given the partition: two others come and go with it
            return [words for slot in slots for words in self._refusals(slot)]

        until(lambda: len(refusals()) >= 2 * len(slots), _SETTLE_S, "refuse, twice each")
        until(lambda: self.alerts <= set(scene.fired()), _SETTLE_S, "its alerts fire")
        for slot in slots:
            slot.wanted = False
        until(lambda: not scene.crew.running, _SETTLE_S, "all have ended")
        _assert_nothing_of_others(scene, before)
        scene.notes.append("workers stopped with the command that mends it, again and again")
        _mend(scene, refusals()[-1], len(slots))
        # "load the ticks again where you have them"
        send(made, [Row(made.names.ticks, one.key, one.value, one.partition) for one in gone])
        scene.crew.settle(_SETTLE_S)
        # applied is not flushed yet
        lacking = judge.until_clean(lambda: _not_come_again(made, before, self.others))
        assert not lacking, f"bars that have not come again: {lacking[:5]}"
        _assert_one_final_a_bucket(made)
        found = judge.verify(made)
        assert (found.code, found.differences) == (0, []), (found.said, found.differences[:5])
        scene.notes.append("under new names verify is clean, with one final per bucket")

    def _refusals(self, slot: Slot) -> list[str]:
        """What a worker said each time; it may also have ended because no broker answered."""
        return [
            words
            for code, words in slot.ended
            if code == 1 and self.said in words and "BARSTREAM_APP_ID" in words
        ]


class TopicRecreated(TicksGone):
    """After the verdict the tick topic is made again: the workers must stop, the mend end well."""

    name = "topic_recreated"
    drawn = False
    said = "made again"

    def harm(self, scene: Scene, ticks: list[Record]) -> list[Record]:
        asyncio.run(_make_again(scene.made))
        self.others = scene.feed.names[0]
        _send_others(scene, 5, self.others)
        return ticks


class TicksLost(TicksGone):
    """After the verdict all brokers lose the last ticks and grow over them: the workers must stop,
    the mend end well."""

    name = "ticks_lost"
    family = "lost_tail"
    needs = frozenset({"cluster"})
    alerts = frozenset({"BarstreamTailLost", "BarstreamWorkerGone"})
    said = "on it holds other records"

    def harm(self, scene: Scene, ticks: list[Record]) -> list[Record]:
        cluster, topic = scene.cluster, scene.made.names.ticks
        assert cluster is not None
        last = self.rng.choice(ticks)
        ours = [one for one in ticks if one.partition == last.partition]
        end = ours[-1].offset + 1
        for node in range(len(cluster.nodes)):
            cluster.kill(node)
        lost_from = end - self.rng.randint(1, 1 + len(ours) // 10)
        first = lost_tail.lose(cluster, topic, last.partition, lost_from)
        cluster.start()
        # of a series at home there: sent to another partition it would have two homes anew
        partitions = scene.made.settings.topics.partitions
        self.others = next(
            name
            for name in scene.feed.names
            if default_partition(series_key(*name), partitions) == last.partition
        )
        _send_others(scene, end - first + 5, self.others, last.partition)
        scene.notes.append(f"offsets {first} to {end - 1} of partition {last.partition} were lost")
        return [one for one in ours if one.offset >= first]


def _send_others(
    scene: Scene, count: int, name: tuple[str, str], partition: int | None = None
) -> None:
    """Ticks of a series that no worker is to take: later than all of before."""
    broker, symbol = name
    tick = {
        "broker": broker, "symbol": symbol, "time": scene.feed.clock_us,
        "price": _AHEAD_PRICE, "size": 1.0,
    }  # fmt: skip
    value, topic = encode("tick", tick), scene.made.names.ticks
    rows = [Row(topic, series_key(*name), value, partition) for _ in range(count)]
    send(scene.made, rows)


def _assert_nothing_of_others(scene: Scene, before: list[Record]) -> None:
    """What was final stays, and no tick is in a bar that no worker was to take.

    Where event time is the wall clock a minute may have ended: it is final of what was applied.
    """
    now = scene.made.read(scene.made.names.final_1m)
    places = {(one.partition, one.offset) for one in before}
    assert [one for one in now if (one.partition, one.offset) in places] == before
    added = [one for one in now if (one.partition, one.offset) not in places]
    assert scene.live or not added, "something was published all the same"
    bars = [decode("bar", one.value) for one in added if one.value]
    assert not any(bar["low"] == _AHEAD_PRICE for bar in bars), "others were applied"


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


def _not_come_again(made: Pipeline, before: list[Record], others: tuple[str, str]) -> list[str]:
    """Bars with ticks that there were, and are not there under the new names.

    Those count that the ticks of their series closed: the last ones of each a heartbeat may have
    closed, and nobody sends any of a series that is history by now.  Of the series whose ticks no
    worker was to take all is late after these.
    """
    bars = [decode("bar", record.value) for record in before if record.value]
    with_ticks = [bar for bar in bars if bar["tick_count"] and _name(bar) != others]
    watermark: dict[tuple[str, str], int] = {}
    for bar in with_ticks:
        name = _name(bar)
        watermark[name] = max(bar["close_time"], watermark.get(name, 0))
    grace_us = made.settings.bars.grace_us
    wanted = {
        _bucket(bar)
        for bar in with_ticks
        if bar["bucket_start"] + MINUTE_US + grace_us <= watermark[_name(bar)]
    }
    return sorted(wanted - {_bucket(bar) for bar in made.finals()})


def _assert_one_final_a_bucket(made: Pipeline) -> None:
    """Late ticks may revise one where the policy says so."""
    found = Counter((_bucket(bar), bar["revision"]) for bar in made.finals())
    twice = [bucket for (bucket, _), count in found.items() if count > 1]
    assert not twice, f"buckets with two finals: {twice[:5]}"


def _name(bar: dict[str, Any]) -> tuple[str, str]:
    return bar["broker"], bar["symbol"]


def _bucket(bar: dict[str, Any]) -> str:
    return f"{bar['symbol']} {iso_from_us(bar['bucket_start'])}"


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
