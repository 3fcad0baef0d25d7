"""What Kafka lost and has grown over again is noticed: in ticks, and in what workers keep.

One broker has four applications.  It is stopped, of each a topic is cut as by a power failure, and
it comes back and goes on.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests import lost_tail
from tests.chaos.drill import long_drill, metric
from tests.functional.records import MORNING_US, end_offset, send_ticks
from tests.functional.tick_records import SECOND_US, Tick
from tests.functional.verification import verified
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import Pipeline, WorkerProcess, pipeline, until
from tests.prometheus import Prometheus

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

OPTIONS: Final = {"BARS__SCHEDULE": "false", "TOPICS__PARTITIONS": "1"}
NAMES: Final = ("ticks-lost", "running", "table-lost", "finals-lost")
#: Of each a minute that is final, and ten seconds.
COUNT: Final = 70
FROM: Final = 65

Harmed = dict[str, Pipeline]


def some(first: int, last: int, price: float = 5.0) -> list[Tick]:
    """Ticks of one series, a second apart."""
    return [Tick("B", "X", MORNING_US + at * SECOND_US, price + at) for at in range(first, last)]


def send_one_by_one(made: Pipeline, ticks: list[Tick]) -> None:
    """Each in a batch of its own, so that the log can end behind any of them."""
    for tick in ticks:
        send_ticks(made, [tick])


def lose_last(broker: KafkaCluster, topic: str, transactions: int) -> None:
    """Those of a changelog: each is a batch of rows, and the marker that commits them."""
    segment = broker.nodes[0].directory / "data" / f"{topic}-0" / f"{0:020d}.log"
    there = list(lost_tail.batches(segment))
    lost_tail.lose(broker, topic, 0, there[-2 * transactions].base)


@pytest.fixture(scope="module")
def harmed(
    module_kafka: KafkaCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Harmed]:
    # ticks        0 .. 64 | 65 .. 69 applied, then lost | 65 .. 74 others
    # final                 09:00
    broker = module_kafka
    with ExitStack() as stack:
        made = {
            name: stack.enter_context(
                pipeline(broker.bootstrap, name, tmp_path_factory.mktemp(name), **OPTIONS)
            )
            for name in NAMES
        }
        workers = {name: one.worker() for name, one in made.items()}
        for one in made.values():
            send_ticks(one, some(0, FROM - 5))
            send_one_by_one(one, some(FROM - 5, COUNT))
        for name, one in made.items():
            until(lambda one=one: one.position() == COUNT, 30, f"{name}: all are applied")  # type: ignore[misc]
            until(lambda one=one: len(one.finals()) == 1, 30, f"{name}: a minute is final")  # type: ignore[misc]
        for name, worker in workers.items():
            if name == "running":
                worker.signal(signal.SIGSTOP)
            else:
                assert worker.stop() == 0
        broker.stop()
        for name in ("ticks-lost", "running"):
            assert lost_tail.lose(broker, made[name].names.ticks, 0, FROM) == FROM
        lose_last(broker, made["table-lost"].names.series, 2)
        lose_last(broker, made["finals-lost"].names.final_1m, 1)
        broker.restart()
        for name in ("ticks-lost", "running"):
            send_one_by_one(made[name], some(FROM, FROM + 10, price=900.0))
            assert end_offset(made[name]) == FROM + 10, "longer than what was applied"
        workers["running"].signal(signal.SIGCONT)
        yield made


def ends(worker: WorkerProcess, *words: str) -> None:
    """It ends by itself, with words that say what was lost and what to do."""
    assert worker.process.wait(60) == 1
    said = worker.tail(3)
    for word in words:
        assert word in said, said


def is_told(worker: WorkerProcess) -> bool:
    """Whether a scrape of it has alerts on what ended the life before."""
    seen = Prometheus(f"http://{worker.host}:{worker.port}")
    try:
        return seen.fires("BarstreamTailLost") and seen.fires("BarstreamWorkerFailed")
    except OSError:
        return False


@pytest.mark.law("L20")
def test_other_ticks_where_some_were_applied_stop_the_worker(harmed: Harmed) -> None:
    made = harmed["ticks-lost"]
    ends(
        made.worker(wait=False),
        f"{made.names.ticks}[0] must hold what was applied up to offset {COUNT - 1}, but from "
        f"offset {FROM} on it holds other records",
        f"Kafka lost {COUNT - FROM} offsets",
        f"--from-offset {FROM}",
        "BARSTREAM_APP_ID",
    )
    assert len(made.finals()) == 1, "nothing was made of the others"


@pytest.mark.chaos
@long_drill
def test_the_mend_is_everything_anew_on_what_the_topic_holds_now(harmed: Harmed) -> None:
    made = harmed["ticks-lost"]
    for name in ("APP_ID", "TOPICS__BASE", "TOPICS__HEARTBEATS", "TOPICS__TICKS_REJECTED",
                 "TOPICS__SERIES_SEEN"):  # fmt: skip
        made.options[name] = f"anew-{name[-4:].lower()}".replace("_", "-")
    made.run("topics", "create")
    worker = made.worker(directory="anew")
    until(lambda: made.position() == FROM + 10, 30, "all that there is")
    assert worker.stop() == 0
    assert verified(made.settings).findings.kept == []


def test_a_worker_that_ran_all_the_while_stops_before_it_goes_on(harmed: Harmed) -> None:
    # it comes back to it however often it is started again
    made = harmed["running"]
    words = f"applied up to offset {COUNT - 1}, but from offset {FROM} on"
    ends(made.workers[0], words)
    again = made.worker(wait=False)
    # a life takes seconds, and what it counts last is seen by no scrape: the next one shows it
    until(lambda: is_told(again), 30, "a scrape tells what ended the life before")
    ends(again, words)
    assert made.position() == COUNT
    assert len(made.finals()) == 1


def test_a_table_with_rows_that_kafka_lost_is_made_again_of_what_kafka_has(harmed: Harmed) -> None:
    # the first worker has the lost rows on its disk; a second one, with none, goes on from the rest
    made = harmed["table-lost"]
    second = made.worker(directory="second")
    send_ticks(made, some(COUNT, 250))
    until(lambda: made.position() == 250, 30, "all are applied, also those applied before")
    assert second.stop() == 0
    worker = made.worker()
    assert "hold rows that Kafka has lost" in worker.log.read_text()
    assert metric(worker, "barstream_lost_tails_total") == 1
    assert Prometheus(f"http://{worker.host}:{worker.port}").fires("BarstreamTailLost")
    assert len(list(Path(made.directory).rglob("*.lost-*"))) == 1, "they are kept"
    bars = worker.get("/bars/B/X?timeframe=1m&limit=100")["bars"]
    assert [bar["open"] for bar in bars] == [5.0, 65.0, 125.0, 185.0, 245.0]
    assert worker.stop() == 0
    assert verified(made.settings).findings.kept == []


@pytest.mark.chaos
@long_drill
def test_finals_that_kafka_lost_under_a_position_are_made_again_by_a_replay(
    harmed: Harmed,
) -> None:
    made = harmed["finals-lost"]
    assert made.finals() == []
    ends(made.worker(directory="second", wait=False), "Kafka has lost bars that were committed")
    made.run("replay", "--suffix", "mend", "--partition", "0", check=False)
    made.run("replay", "switch", "--suffix", "mend", "--yes")
    worker = made.worker(directory="second")
    assert [bar["open"] for bar in made.finals()] == [5.0]
    assert worker.stop() == 0
    assert verified(made.settings).findings.kept == []
