"""What every client has that is made in one place."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from barstream.kafka import clients
from barstream.kafka.clients import make_consumer, make_producer
from tests.cluster import cluster_at

CLUSTER = cluster_at("127.0.0.1:9")


def given(monkeypatch: pytest.MonkeyPatch, kind: str) -> dict[str, Any]:
    """The options of the client that is made next."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(clients, kind, lambda **options: found.update(options))
    return found


@pytest.mark.parametrize("committed", [True, False])
def test_a_consumer_reads_committed_records_unless_it_is_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    found = given(monkeypatch, "KafkaConsumer")
    make_consumer(CLUSTER, committed=committed)
    assert found["isolation_level"] == ("read_committed" if committed else "read_uncommitted")
    make_consumer(CLUSTER)
    assert found["isolation_level"] == "read_committed"


def test_a_consumer_is_of_no_group_and_commits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = given(monkeypatch, "KafkaConsumer")
    make_consumer(CLUSTER, fetch_max_wait_ms=100)
    assert (found["group_id"], found["enable_auto_commit"]) == (None, False)
    assert (found["fetch_max_wait_ms"], found["bootstrap_servers"]) == (100, ["127.0.0.1:9"])


def test_a_record_counts_when_every_replica_in_sync_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = given(monkeypatch, "KafkaProducer")
    make_producer(CLUSTER, linger_ms=0)
    assert (found["acks"], found["linger_ms"]) == ("all", 0)


def test_aiokafka_takes_what_they_are_made_with() -> None:
    async def made() -> None:
        make_consumer(CLUSTER)
        make_producer(CLUSTER)

    asyncio.run(made())
