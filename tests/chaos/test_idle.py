"""A market that is closed for longer than the brokers remember who wrote last."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from barstream.codecs.avro.body import decode
from tests.chaos.drill import ALWAYS_OPEN, long_drill, soon
from tests.functional.tick_records import MINUTE_US, Tick, now_us, send_ticks
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import Pipeline, pipeline

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

#: A week of holidays and more, where brokers forget after seven days.
_FORGETS_S = 15
_RESTS_S = 50


def send_and_see(made: Pipeline, tick: Tick) -> None:
    """Send a tick and wait until its bar is shown as open."""
    send_ticks(made.bootstrap, made.names.ticks, [tick])

    def shown() -> bool:
        records = made.read(made.names.live_1m)
        return any(decode("bar", r.value)["symbol"] == tick.symbol for r in records if r.value)

    soon(shown, f"{tick.symbol} is live")


@long_drill
@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_a_worker_outlives_a_rest_after_which_brokers_forget_its_transactional_ids(
    new_kafka: Callable[..., KafkaCluster], unique: str, tmp_path: Path
) -> None:
    """Kafka refuses the next transaction of a forgotten id (InvalidProducerIdMapping)."""
    settings = {
        "transactional.id.expiration.ms": str(_FORGETS_S * 1000),
        "transaction.remove.expired.transaction.cleanup.interval.ms": "500",
    }
    broker = new_kafka(settings=settings)
    with pipeline(broker.bootstrap, unique, tmp_path, **ALWAYS_OPEN) as made:
        worker = made.worker()
        send_and_see(made, Tick("SIM", "BEFORE", now_us(), 1.0))
        time.sleep(_RESTS_S)
        after = Tick("SIM", "AFTER", now_us(), 1.0)
        send_and_see(made, after)
        # the leader's id was forgotten as well: the minutes are closed all the same
        minute_us = after.time_us // MINUTE_US * MINUTE_US
        soon(
            lambda: any(int(b["bucket_start"]) == minute_us for b in made.finals_of("AFTER")),
            "its minute is final",
            90,
        )
        assert worker.stop() == 0, worker.tail()
    troubles = re.findall(r"^\S+Z (?:warning|error) .*", worker.log.read_text(), re.MULTILINE)
    assert troubles == []
