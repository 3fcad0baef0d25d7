"""A worker's schedule, from the topic to the provider, against real Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO

import fastavro
import pytest

from barstream.codecs.avro.body import without_logical_types
from barstream.codecs.ticks.registry_frame import frame
from barstream.codecs.topics.session import encode_session, session_key
from barstream.config import Settings
from barstream.feeds.schedule_load import load_schedule, read_current
from barstream.kafka.cluster import Cluster
from barstream.kafka.topic_follower import TopicMissingError
from barstream.log.schedule import schedule_index, schedule_records
from barstream.market.schedule import MarketScheduleProvider, SessionRow
from barstream.model.time import SECOND_US, iso_date_from_days, us_from_iso
from barstream.runtime.schedule import ScheduleService, next_reload_us
from barstream.verify.schedule_changes import ScheduleChanges
from tables.schedule import declare
from tests.functional.topics import eventually, new_topic, put
from tests.kafka_cluster import KafkaCluster
from tests.property.verify_cases import untold
from tests.schema_registry import Registry, serving

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
SERIES = ("B", "S")
DAYS = range(20_000, 20_003)
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}


@dataclass
class FakeClock:
    """Stands still until it is set."""

    now_us: int = field(default_factory=lambda: us_from_iso("2024-01-02T12:00"))

    def __call__(self) -> int:
        return self.now_us


def row(day: int = 20_000, session: int = 0, hours: int = 8, symbol: str = "S") -> SessionRow:
    open_us = day * DAY_US + session * 12 * HOUR_US
    return SessionRow("B", symbol, day, session, open_us, open_us + hours * HOUR_US)


def settings_for(bootstrap: str, topic: str, *, schedule: bool = True) -> Settings:
    return Settings.model_validate(
        {
            "app_id": topic,
            "bootstrap": bootstrap,
            "topics": {"market_schedule": topic},
            "bars": {"schedule": schedule},
        }
    )


@asynccontextmanager
async def running(service: ScheduleService) -> AsyncIterator[ScheduleService]:
    await service.start()
    try:
        await asyncio.wait_for(service.loaded(), 30)
        yield service
    finally:
        await service.stop()


def in_session(provider: MarketScheduleProvider, day: int, hour: int, symbol: str = "S") -> bool:
    return provider.is_in_session("B", symbol, day * DAY_US + hour * HOUR_US)


def test_every_row_is_judged_by_once_loaded_and_rows_apply_as_they_arrive(
    kafka: KafkaCluster,
) -> None:
    async def scenario() -> None:
        settings = settings_for(kafka.bootstrap, await new_topic(kafka.bootstrap, 3))
        await load_schedule(settings, [row(day) for day in range(20_000, 20_100)])
        service = ScheduleService(settings, declare, clock=FakeClock())
        assert not service.provider.ready
        async with running(service):
            provider = service.provider
            assert provider.ready
            assert all(in_session(provider, day, 7) for day in range(20_000, 20_100))
            assert not in_session(provider, 20_000, 8)
            assert service.status.rows == 100
            version = provider.index.version

            await load_schedule(settings, [row(20_000, hours=9), row(20_000, session=1)])
            await eventually(lambda: in_session(provider, 20_000, 12))
            assert in_session(provider, 20_000, 8)
            assert provider.index.version > version
            assert provider.index.changed == {SERIES}

            # The afternoon is absent from the next load of that date: withdrawn.
            await load_schedule(settings, [row(20_000, hours=9)])
            await eventually(lambda: not in_session(provider, 20_000, 12))
            assert in_session(provider, 20_001, 7), "other dates are not touched"

    asyncio.run(scenario())


def test_refused_rows_leave_the_series_its_schedule_and_the_others_theirs(
    kafka: KafkaCluster,
) -> None:
    async def scenario() -> None:
        topic = await new_topic(kafka.bootstrap)
        settings = settings_for(kafka.bootstrap, topic)
        await load_schedule(settings, [row()])
        async with running(ScheduleService(settings, declare, clock=FakeClock())) as service:
            # a transaction that is acknowledged may become visible a moment later
            await eventually(lambda: in_session(service.provider, 20_000, 7))
            overlapping = replace(row(session=1), open_us=row().open_us + HOUR_US)
            other = row(symbol="T")
            await put(
                kafka.bootstrap,
                topic,
                [(session_key(each), encode_session(each)) for each in (overlapping, other)]
                + [(b"junk", b"junk")],
            )
            await eventually(lambda: in_session(service.provider, 20_000, 1, "T"))
            assert in_session(service.provider, 20_000, 7)
            conflict, junk = service.status.problems
            assert str(row()) in conflict
            assert str(overlapping) in conflict
            assert "junk" in junk

            await put(kafka.bootstrap, topic, [(session_key(overlapping), None)])
            await eventually(lambda: len(service.status.problems) == 1)

    asyncio.run(scenario())


def test_rows_of_another_producer_are_read_by_the_schema_they_name(kafka: KafkaCluster) -> None:
    """Symbol before broker, milliseconds; a registry that is away holds up these rows alone."""
    fields = [("symbol", "string"), ("broker", "string"), ("trading_date", "string"),
              ("session", "int"), ("open", MILLIS), ("close", MILLIS)]  # fmt: skip
    schema = {
        "type": "record", "name": "Hours",
        "fields": [{"name": name, "type": kind} for name, kind in fields],
    }  # fmt: skip

    def theirs(number: int, day: int) -> tuple[bytes, bytes]:
        each = row(day)
        record = {
            "symbol": "s", "broker": "b", "session": 0,
            "trading_date": iso_date_from_days(day),
            "open": each.open_us // 1000, "close": each.close_us // 1000,
        }  # fmt: skip
        out = BytesIO()
        fastavro.schemaless_writer(out, without_logical_types(schema), record)
        return session_key(each), frame(number, out.getvalue())

    async def scenario() -> None:
        server = Registry()
        async with serving(server) as url:
            settings = settings_for(kafka.bootstrap, await new_topic(kafka.bootstrap, 3))
            ticks = settings.ticks.model_copy(update={"registry_url": url})
            settings = settings.model_copy(update={"ticks": ticks})
            number = server.add(schema)
            await put(kafka.bootstrap, settings.topics.market_schedule, [theirs(number, 20_000)])
            clock = FakeClock()
            service = ScheduleService(settings, declare, clock=clock, retry_s=60)
            async with running(service):
                provider = service.provider
                assert in_session(provider, 20_000, 7)
                assert service.status.refused == 0

                server.failures = 1000
                number = server.add({**schema, "name": "Newer"})
                topic = settings.topics.market_schedule
                ours = session_key(row(20_002)), encode_session(row(20_002))
                await put(kafka.bootstrap, topic, [theirs(number, 20_001), ours])
                await eventually(lambda: in_session(provider, 20_002, 7))
                assert not in_session(provider, 20_001, 7)
                assert "wait for the schema they name" in (service.status.last_error or "")

                server.failures = 0
                clock.now_us += 61 * SECOND_US
                await eventually(lambda: in_session(provider, 20_001, 7))

                await put(kafka.bootstrap, topic, [(b"x", frame(77, b"y"))])
                await eventually(lambda: service.status.refused == 1)
                assert "no schema 77" in service.status.problems[-1]

            # commands, verify and explain read what workers read
            shown = (await read_current(settings)).rows
            assert {each.trading_date for each in shown.rows_of(SERIES)} == set(DAYS)
            assert len(shown.refused) == 1
            records = await schedule_records(Cluster(settings))
            schedule = schedule_index(records).for_series(*SERIES)
            assert schedule is not None
            assert all(schedule.reaches(day) for day in DAYS)
            changes = ScheduleChanges(records, 0, untold())
            assert all(changes.explain(SERIES, day * DAY_US, 1, None) for day in DAYS)

    asyncio.run(scenario())


def test_the_topic_is_read_anew_at_five_past_midnight_utc(kafka: KafkaCluster) -> None:
    async def scenario() -> None:
        clock = FakeClock()
        settings = settings_for(kafka.bootstrap, await new_topic(kafka.bootstrap))
        await load_schedule(settings, [row()])
        async with running(ScheduleService(settings, declare, clock=clock)) as service:
            index = service.provider.index
            assert service.status.last_reload_us == clock.now_us
            assert service.status.next_reload_us == us_from_iso("2024-01-03T00:05")

            clock.now_us = us_from_iso("2024-01-03T00:05") - 1
            await asyncio.sleep(0.3)
            assert service.status.last_reload_us == us_from_iso("2024-01-02T12:00")
            clock.now_us += 1
            await eventually(lambda: service.status.last_reload_us == clock.now_us)
            assert service.status.next_reload_us == us_from_iso("2024-01-04T00:05")
            assert service.provider.index is index, "nothing changed, so nothing is replaced"

            # The reader that took over is the one that follows the topic now.
            await load_schedule(settings, [row(20_001)])
            await eventually(lambda: in_session(service.provider, 20_001, 7))

    asyncio.run(scenario())


def test_a_failed_reload_keeps_the_index_is_reported_and_tried_again(
    kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barstream.kafka.topic_follower.TOPIC_APPEARS_WITHIN_S", 0.1)

    async def scenario() -> None:
        clock = FakeClock()
        settings = settings_for(kafka.bootstrap, await new_topic(kafka.bootstrap))
        await load_schedule(settings, [row()])
        async with running(ScheduleService(settings, declare, clock=clock, retry_s=30)) as service:
            index, topic = service.provider.index, service.topic
            service.topic = "a-topic-that-is-not-there"
            clock.now_us = us_from_iso("2024-01-03T00:05")
            await eventually(lambda: service.status.last_error is not None)
            assert "a-topic-that-is-not-there" in str(service.status.last_error)
            assert service.provider.index is index
            assert service.status.next_reload_us == clock.now_us + 30 * SECOND_US

            # What arrives meanwhile is still applied.
            await load_schedule(settings, [row(20_001)])
            await eventually(lambda: in_session(service.provider, 20_001, 7))

            service.topic = topic
            clock.now_us += 30 * SECOND_US
            await eventually(lambda: service.status.last_error is None)
            assert service.status.last_reload_us == clock.now_us

    asyncio.run(scenario())


def test_without_a_schedule_join_everything_is_open_and_no_topic_is_read() -> None:
    async def scenario() -> None:
        settings = settings_for("127.0.0.1:1", "none", schedule=False)
        async with running(ScheduleService(settings, declare)) as service:
            assert service.provider.is_in_session("anyone", "BTCUSD", us_from_iso("2024-01-07"))
            assert service.status.always_open
            assert service.status.hint is None

    asyncio.run(scenario())


def test_an_empty_schedule_names_the_command_that_mends_it(kafka: KafkaCluster) -> None:
    async def scenario() -> None:
        settings = settings_for(kafka.bootstrap, await new_topic(kafka.bootstrap))
        async with running(ScheduleService(settings, declare, clock=FakeClock())) as service:
            assert service.provider.ready
            assert "barstream schedule load" in str(service.status.hint)

    asyncio.run(scenario())


def test_a_topic_that_is_missing_at_start_is_surfaced(
    kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barstream.kafka.topic_follower.TOPIC_APPEARS_WITHIN_S", 0.1)

    async def scenario() -> None:
        service = ScheduleService(settings_for(kafka.bootstrap, "no-such-schedule"), declare)
        await service.start()
        with pytest.raises(TopicMissingError):
            await asyncio.wait_for(service.loaded(), 30)
        await eventually(lambda: service.crashed)
        await service.stop()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2024-01-02T00:04:59.999999", "2024-01-02T00:05"),
        ("2024-01-02T00:05", "2024-01-03T00:05"),
        ("2024-12-31T23:59", "2025-01-01T00:05"),
        ("2024-03-10T12:00", "2024-03-11T00:05"),
    ],
)
def test_the_next_reload_is_an_absolute_time(now: str, due: str) -> None:
    assert next_reload_us(us_from_iso(now)) == us_from_iso(due)
