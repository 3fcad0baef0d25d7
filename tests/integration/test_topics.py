"""Creating and checking topics, on Apache Kafka and on the embedded broker alike."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import BrokerMetadata
from click.testing import CliRunner

from barstream.broker import EmbeddedBroker
from barstream.cli import cli
from barstream.config import Settings, load_settings
from barstream.kafka.admin import AdminClient
from barstream.kafka.connection import BrokerUnreachableError
from barstream.kafka.topics import (
    Creation,
    Level,
    TopicCreationError,
    TopicNames,
    TopicsError,
    check,
    create,
    make_plan,
    require,
)
from tests.functional.records import admin
from tests.pipeline import Pipeline, free_port, pipeline, until


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedBroker(tmp_path_factory.mktemp("embedded")) as broker:
        yield broker.bootstrap


@pytest.fixture(params=[pytest.param("kafka", marks=pytest.mark.kafka), "embedded"])
def bootstrap(request: pytest.FixtureRequest) -> str:
    running = request.getfixturevalue(request.param)
    return running if isinstance(running, str) else str(running.bootstrap)


def settings_of(bootstrap: str, unique: str, **more: Any) -> Settings:
    named = ("ticks", "ticks_rejected", "market_schedule", "series_seen", "heartbeats", "base")
    overrides = {f"topics.{name}": f"{unique}_{name}" for name in named}
    return load_settings(
        env={}, overrides={"bootstrap": bootstrap, "app_id": unique, **overrides, **more}
    )


def make(bootstrap: str, name: str, partitions: int, **config: str) -> None:
    async def scene() -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        try:
            settings = {key.replace("_", "."): value for key, value in config.items()}
            new = NewTopic(name, partitions, 1, topic_configs=settings)
            answer = await admin.create_topics([new])
            assert [code for _, code, *_ in answer.topic_errors] == [0]
        finally:
            await admin.close()

    asyncio.run(scene())


async def described(bootstrap: str, names: list[str]) -> dict[str, tuple[int, dict[str, str]]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        shapes = {t["topic"]: len(t["partitions"]) for t in await admin.describe_topics(names)}
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        answers = await admin.describe_configs(wanted)
        return {
            name: (shapes[name], {entry[0]: entry[1] for entry in entries})
            for answer in answers
            for _, _, _, name, entries in answer.resources
        }
    finally:
        await admin.close()


def test_topics_are_created_as_planned_once_and_a_worker_may_start(
    bootstrap: str, unique: str
) -> None:
    settings = settings_of(bootstrap, unique)
    names = list(TopicNames.of(settings).by_logical().values())

    assert sorted(asyncio.run(create(settings)).created) == sorted(names)
    assert asyncio.run(create(settings)).created == ()

    found = asyncio.run(described(bootstrap, names))
    for plan in make_plan(settings):
        partitions, config = found[plan.name]
        assert partitions == plan.partitions
        assert {key: config[key] for key in plan.config} == plan.config
    assert {finding.level for finding in asyncio.run(require(settings))} == {Level.OK}


def test_checking_creates_nothing_and_a_worker_is_told_the_command(
    bootstrap: str, unique: str
) -> None:
    settings = settings_of(bootstrap, unique)
    for _ in range(2):
        findings = asyncio.run(check(settings))
        assert {finding.level for finding in findings} == {Level.REFUSAL}
        assert len(findings) == len(make_plan(settings))
    with pytest.raises(TopicsError, match="barstream topics create"):
        asyncio.run(require(settings))


def test_ticks_that_exist_decide_the_partitions_and_a_setting_that_disagrees_is_reported(
    bootstrap: str, unique: str
) -> None:
    # Created at once after the tick topic, when the cluster need not show that one yet.
    settings = settings_of(bootstrap, unique, **{"topics.partitions": 2})
    make(bootstrap, settings.topics.ticks, 3, message_timestamp_type="LogAppendTime")

    findings = asyncio.run(create(settings)).findings

    found = asyncio.run(described(bootstrap, list(TopicNames.of(settings).by_logical().values())))
    assert sorted(partitions for partitions, _ in found.values()) == [1, 1] + [3] * 10
    said = [f for f in findings if f.level is Level.WARNING and "topics.partitions" in f.message]
    assert [finding.topic for finding in said] == [settings.topics.ticks]
    asyncio.run(require(settings))


def test_a_worker_refuses_heartbeats_in_other_partitions_than_the_bars(
    bootstrap: str, unique: str
) -> None:
    settings = settings_of(bootstrap, unique)
    make(bootstrap, settings.topics.heartbeats, 2, message_timestamp_type="LogAppendTime")
    findings = asyncio.run(create(settings)).findings
    refused = [finding.topic for finding in findings if finding.level is Level.REFUSAL]
    assert refused == [settings.topics.heartbeats]
    with pytest.raises(TopicsError, match=r"must have the 4 partitions.*found 2"):
        asyncio.run(require(settings))


def test_a_worker_refuses_a_state_table_that_deletes(bootstrap: str, unique: str) -> None:
    settings = settings_of(bootstrap, unique)
    make(bootstrap, f"{unique}-series", 4, cleanup_policy="delete")
    asyncio.run(create(settings))
    with pytest.raises(TopicsError, match=f"{unique}-series.*loses state"):
        asyncio.run(require(settings))


def test_a_worker_starts_on_ticks_of_others_and_their_age_limit_is_a_warning(
    bootstrap: str, unique: str
) -> None:
    settings = settings_of(bootstrap, unique)
    make(bootstrap, settings.topics.ticks, 4)
    asyncio.run(create(settings))
    findings = asyncio.run(require(settings))
    warned = [f.message for f in findings if f.level is Level.WARNING]
    assert any("LogAppendTime" in message for message in warned)
    assert any("retention.ms is 7 days" in message for message in warned)


def test_the_broker_stamps_what_a_producer_dates_last_spring(bootstrap: str, unique: str) -> None:
    settings = settings_of(bootstrap, unique)
    asyncio.run(create(settings))

    async def scene() -> None:
        topic = TopicPartition(settings.topics.ticks, 0)
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
        await producer.start()
        await producer.send_and_wait(topic.topic, b"tick", partition=0, timestamp_ms=10**12)
        await producer.stop()
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            consumer.assign([topic])
            record = await asyncio.wait_for(consumer.getone(), 20)
        finally:
            await consumer.stop()
        assert record.timestamp_type == 1
        assert abs(record.timestamp / 1000 - time.time()) < 60

    asyncio.run(scene())


def test_more_copies_than_brokers_is_an_error_that_says_so(bootstrap: str, unique: str) -> None:
    settings = settings_of(bootstrap, unique, **{"topics.replication": 3})
    with pytest.raises(TopicCreationError, match=r"replication 3.*1 broker"):
        asyncio.run(create(settings))


def test_two_processes_may_create_the_topics_at_once(bootstrap: str, unique: str) -> None:
    settings = settings_of(bootstrap, unique)

    async def both() -> list[str]:
        first, second = await asyncio.gather(create(settings), create(settings))
        return [*first.created, *second.created]

    assert sorted(asyncio.run(both())) == sorted(TopicNames.of(settings).by_logical().values())


def test_no_broker_is_an_error_with_what_to_do(unique: str) -> None:
    with pytest.raises(BrokerUnreachableError, match="barstream broker"):
        asyncio.run(check(settings_of("127.0.0.1:9", unique)))


def test_the_commands_exit_with_one_as_long_as_a_worker_would_refuse(
    bootstrap: str, unique: str, tmp_path: Path
) -> None:
    config = tmp_path / "barstream.toml"
    config.write_text(
        f'app_id = "{unique}"\nbootstrap = "{bootstrap}"\n[topics]\nbase = "{unique}"\n'
        f'ticks = "{unique}_t"\nticks_rejected = "{unique}_r"\nmarket_schedule = "{unique}_s"\n'
        f'series_seen = "{unique}_v"\nheartbeats = "{unique}_h"\n'
    )

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["--config", str(config), "topics", *words])
        return result.exit_code, result.stdout

    code, shown = run("check")
    assert code == 1
    assert "mend: barstream topics create" in shown
    code, shown = run("create", "--partitions", "2", "--json")
    rows = [json.loads(line) for line in shown.splitlines()]
    assert code == 0
    assert all(row["created"] for row in rows)
    assert {row["level"] for row in rows} == {"ok"}
    code, shown = run("check", "--json")
    assert code == 0
    ticks = json.loads(shown.splitlines()[0])
    assert ticks["topic"] == f"{unique}_t"
    assert ticks["message"] == "2 partitions, replication 1"


def test_topics_may_be_created_by_many_at_the_same_time(bootstrap: str, unique: str) -> None:
    """As workers do that a Procfile starts together: every topic is made by one of them."""
    settings = settings_of(bootstrap, unique)

    async def scene() -> list[Creation]:
        return await asyncio.gather(*(create(settings) for _ in range(4)))

    creations = asyncio.run(scene())
    created = sorted(name for creation in creations for name in creation.created)
    assert created == sorted(TopicNames.of(settings).by_logical().values())
    for creation in creations:
        assert {finding.level for finding in creation.findings} == {Level.OK}


def test_the_command_waits_for_a_broker_that_comes_later(tmp_path: Path) -> None:
    port = free_port()
    kept = {k: v for k, v in os.environ.items() if not k.startswith("BARSTREAM_")}
    with subprocess.Popen(
        [sys.executable, "-m", "barstream", "topics", "create", "--wait", "60", "--quiet"],
        env=kept | {"BARSTREAM_BOOTSTRAP": f"127.0.0.1:{port}"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as command:  # fmt: skip
        assert command.stderr is not None
        said = command.stderr.readline()
        with EmbeddedBroker(tmp_path, port):
            printed, more = command.communicate(timeout=60)
    assert said == f"waiting up to 60 s for a broker at 127.0.0.1:{port}\n"
    assert (command.returncode, printed, more) == (0, "", "")


def test_a_broker_that_does_not_come_in_time_is_an_error() -> None:
    port = free_port()
    began = time.monotonic()
    result = CliRunner().invoke(
        cli, ["topics", "create", "--wait", "1"], env={"BARSTREAM_BOOTSTRAP": f"127.0.0.1:{port}"}
    )
    assert 1 <= time.monotonic() - began < 10
    assert result.exit_code == 2
    assert f"a Kafka broker must answer at 127.0.0.1:{port}" in result.stderr


def test_a_quiet_creation_says_what_keeps_a_worker_from_starting(
    embedded: str, unique: str
) -> None:
    make(embedded, f"{unique}_ticks", 2)
    make(embedded, f"{unique}_heartbeats", 3)
    given = ("ticks", "heartbeats", "base")
    names = {f"BARSTREAM_TOPICS__{name.upper()}": f"{unique}_{name}" for name in given}
    env = {"BARSTREAM_BOOTSTRAP": embedded, "BARSTREAM_APP_ID": unique, **names}
    result = CliRunner().invoke(cli, ["topics", "create", "--quiet"], env=env)
    assert result.exit_code == 1
    assert f"{unique}_heartbeats" in result.stdout
    named = set(re.findall(rf"^{unique}_\w+", result.stdout, re.MULTILINE))
    assert named == {f"{unique}_ticks", f"{unique}_heartbeats"}


@pytest.mark.kafka
def test_questions_go_to_a_broker_that_is_there(kafka: Any) -> None:
    async def ask() -> None:
        admin = AdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        try:
            brokers = admin._client.cluster._brokers
            away = {
                number: BrokerMetadata(number, "127.0.0.1", free_port(), None)
                for number in (98, 99)
            }
            for _ in range(8):
                brokers.update(away)
                await admin.list_topics()
        finally:
            await admin.close()

    asyncio.run(ask())


@pytest.mark.kafka
@pytest.mark.law("L14")
def test_a_worker_makes_no_topic_but_those_that_are_planned(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    """Faust would make one for a leader of its own, and one for each table."""

    async def topics(made: Pipeline) -> set[str]:
        async with admin(made) as client:
            return {topic for topic in await client.list_topics() if unique in topic}

    with pipeline(kafka.bootstrap, unique, tmp_path, BARS__SCHEDULE="false") as made:
        planned = asyncio.run(topics(made))
        worker = made.worker()
        until(lambda: worker.get("/status")["leader"], 20, "it leads the heartbeats")
        assert worker.stop() == 0
        assert asyncio.run(topics(made)) == planned
