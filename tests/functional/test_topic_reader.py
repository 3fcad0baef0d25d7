"""The reader of whole topics, against real Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from barstream.kafka.connection import BrokerUnreachableError
from barstream.kafka.topic_follower import TopicFollower, TopicMissingError
from tests.cluster import cluster_at
from tests.functional.topics import eventually, new_topic, put, put_transaction
from tests.kafka_cluster import KafkaCluster
from tests.kafka_node import free_ports

Seen = list[tuple[bytes | None, bytes | None]]


def reader_of(topic: str, bootstrap: str, seen: Seen) -> TopicFollower:
    def remember(
        key: bytes | None, value: bytes | None, partition: int, offset: int, timestamp_us: int, /
    ) -> None:
        assert timestamp_us > 1_600_000_000_000_000, "production time in microseconds"
        seen.append((key, value))

    return TopicFollower(topic, remember, cluster=cluster_at(bootstrap))


def test_everything_there_at_start_is_read_and_then_what_comes(kafka: KafkaCluster) -> None:
    async def scenario() -> None:
        topic = await new_topic(kafka.bootstrap)
        await put(kafka.bootstrap, topic, [(b"a", b"1"), (b"b", b"2")], partition=0)
        await put(kafka.bootstrap, topic, [(b"c", b"3")], partition=1)
        seen: Seen = []
        async with reader_of(topic, kafka.bootstrap, seen) as reader:
            await asyncio.wait_for(reader.caught_up(), 20)
            assert sorted(seen) == [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]
            assert reader.end_offsets == {0: 2, 1: 1}

            await put(kafka.bootstrap, topic, [(b"a", None)])
            await eventually(lambda: seen[-1] == (b"a", None))

    asyncio.run(scenario())


def test_an_empty_topic_is_caught_up_with(kafka: KafkaCluster) -> None:
    async def scenario() -> None:
        seen: Seen = []
        async with reader_of(await new_topic(kafka.bootstrap), kafka.bootstrap, seen) as reader:
            await asyncio.wait_for(reader.caught_up(), 20)

    asyncio.run(scenario())


@pytest.mark.parametrize("commit", [True, False])
def test_a_topic_that_ends_in_control_or_aborted_records_is_caught_up_with(
    kafka: KafkaCluster, commit: bool
) -> None:
    # p0: a  [b  commit|abort]      p1: [c  abort]   nothing but aborted records
    async def scenario() -> None:
        topic = await new_topic(kafka.bootstrap)
        await put(kafka.bootstrap, topic, [(b"a", b"1")])
        await put_transaction(kafka.bootstrap, topic, [(b"b", b"2")], commit=commit)
        await put_transaction(kafka.bootstrap, topic, [(b"c", b"3")], partition=1, commit=False)
        seen: Seen = []
        async with reader_of(topic, kafka.bootstrap, seen) as reader:
            await asyncio.wait_for(reader.caught_up(), 20)
            assert reader.end_offsets == {0: 3, 1: 2}
        assert seen == [(b"a", b"1"), (b"b", b"2")][: 2 if commit else 1]

    asyncio.run(scenario())


def test_a_missing_topic_is_an_error_that_names_the_command_and_creates_nothing(
    kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barstream.kafka.topic_follower.TOPIC_APPEARS_WITHIN_S", 0.5)

    async def scenario() -> None:
        for _ in range(2):
            async with reader_of("no-such-topic", kafka.bootstrap, []) as reader:
                with pytest.raises(TopicMissingError, match="barstream topics create"):
                    await asyncio.wait_for(reader.caught_up(), 20)
                with pytest.raises(TopicMissingError):
                    await reader.wait()

    asyncio.run(scenario())


def test_no_broker_within_the_time_allowed_is_an_error(kafka: KafkaCluster) -> None:
    async def scenario() -> None:
        nobody = f"127.0.0.1:{free_ports('127.0.0.1', 1)[0]}"
        reader = TopicFollower(
            "t",
            lambda *_: None,
            cluster=cluster_at(nobody),
            connect_timeout_s=0.6,
        )
        async with reader:
            with pytest.raises(BrokerUnreachableError, match=nobody):
                await asyncio.wait_for(reader.caught_up(), 20)

    asyncio.run(scenario())


def test_a_handler_that_fails_ends_the_reader_and_is_surfaced(kafka: KafkaCluster) -> None:
    async def scenario() -> None:
        topic = await new_topic(kafka.bootstrap)
        await put(kafka.bootstrap, topic, [(b"a", b"1")])
        heard: list[BaseException] = []

        def fail(*_: object) -> None:
            raise ArithmeticError("no")

        cluster = cluster_at(kafka.bootstrap)
        reader = TopicFollower(topic, fail, cluster=cluster, on_failure=heard.append)
        async with reader:
            with pytest.raises(ArithmeticError):
                await asyncio.wait_for(reader.caught_up(), 20)
            with pytest.raises(ArithmeticError):
                await reader.wait()
        assert [type(error) for error in heard] == [ArithmeticError]
        assert isinstance(reader.failure, ArithmeticError)

    asyncio.run(scenario())


def test_a_reader_outlives_its_broker_and_waits_for_one_that_is_not_there(
    new_kafka: Callable[[], KafkaCluster],
) -> None:
    #   reader 1:  a ─ kill -9 ────────────────── b ─▶
    #   reader 2:        start ─ no broker ─ a ── b ─▶
    async def scenario(cluster: KafkaCluster) -> None:
        topic = await new_topic(cluster.bootstrap)
        await put(cluster.bootstrap, topic, [(b"a", b"1")])
        first: Seen = []
        second: Seen = []
        async with reader_of(topic, cluster.bootstrap, first) as reader:
            await asyncio.wait_for(reader.caught_up(), 20)
            await asyncio.to_thread(cluster.kill)
            async with reader_of(topic, cluster.bootstrap, second) as late:
                await asyncio.sleep(1)
                assert not late.is_caught_up
                await asyncio.to_thread(cluster.restart)
                await asyncio.wait_for(late.caught_up(), 30)
                await put(cluster.bootstrap, topic, [(b"b", b"2")])
                await eventually(lambda: len(first) == len(second) == 2, within_s=30)
        assert first == second == [(b"a", b"1"), (b"b", b"2")]

    asyncio.run(scenario(new_kafka()))
