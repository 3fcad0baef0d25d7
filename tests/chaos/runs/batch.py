"""Many runs: some at a time on one broker, and those that need three brokers one by one."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tests.chaos.faults.brokers import SMALL_MIB, SMALL_NODE
from tests.chaos.faults.disk import Tmpfs, lacks_mount
from tests.chaos.faults.network import Bridge, lacks_namespaces
from tests.chaos.runs.families import FAMILIES
from tests.chaos.runs.play import play
from tests.chaos.runs.result import Result
from tests.chaos.runs.scenario import Scenario
from tests.kafka_cluster import KafkaCluster

_SLOW_S: Final = 30.0
#: Of each of several brokers.  They live for minutes: to compile them well does not pay.
SMALL_JVM: Final = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def play_all(todo: Sequence[Scenario], jobs: int, kept: Path) -> Iterator[Result]:
    """Results as they come.

    Args:
        todo: the runs, all of one family or of none.
        jobs: how many at the same time on the one broker; those on three come one by one beside.
        kept: directory for the logs of runs that were not clean.
    """
    singles = [scenario for scenario in todo if not scenario.cluster]
    clustered = [scenario for scenario in todo if scenario.cluster and scenario.kafka is None]
    upgraded = [scenario for scenario in todo if scenario.cluster and scenario.kafka is not None]
    with ExitStack() as stack:
        waiting: set[Future[Result]] = set()
        if singles:
            family = FAMILIES[singles[0].family] if singles[0].family else None
            settings = family.broker if family else None
            broker = stack.enter_context(KafkaCluster(settings=settings))
            # in processes: clients and feeds of two runs share no interpreter
            spawn = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(jobs, spawn, interruptible))
            stack.push(partial(_interrupted, pool))
            address = broker.bootstrap
            waiting = {pool.submit(play_here, each, address, None, kept) for each in singles}
        for scenario in upgraded:
            # of its own: from higher feature levels there is no way back
            with three_brokers(scenario.kafka) as cluster:
                yield play_here(scenario, cluster.bootstrap, cluster, kept)
        if clustered:
            cluster = stack.enter_context(three_brokers())
            for scenario in clustered:
                cluster.start()  # those that a run has left behind
                yield play_here(scenario, cluster.bootstrap, cluster, kept)
                done, waiting = wait(waiting, timeout=0)
                yield from (future.result() for future in done)
        for future in as_completed(waiting):
            yield future.result()


def interruptible() -> None:
    """SIGTERM means what Ctrl-C means: workers, brokers, networks and mounts are taken away."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


def _interrupted(pool: ProcessPoolExecutor, kind: type[BaseException] | None, *_: object) -> None:
    """Begin nothing more, and end what is under way."""
    if kind is not None:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()


@contextmanager
def three_brokers(version: str | None = None) -> Iterator[KafkaCluster]:
    """A cluster to be harmed: on a bridge and with one small disk, where the machine allows it."""
    with ExitStack() as stack:
        host = "127.0.0.1"
        if lacks_namespaces() is None:
            host = stack.enter_context(Bridge()).address
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="barstream-brokers-")))
        if lacks_mount() is None:
            disk = Tmpfs(data / f"node-{SMALL_NODE + 1}")
            disk.mount(SMALL_MIB)
            stack.callback(disk.remove)
        # of the topics that are not ours: two of three copies must have what is acknowledged
        settings = {"min.insync.replicas": "2"}
        brokers = KafkaCluster(
            3, host=host, settings=settings, data_dir=data, jvm_options=SMALL_JVM, version=version
        )
        yield stack.enter_context(brokers)


def play_here(
    scenario: Scenario, bootstrap: str, cluster: KafkaCluster | None, kept: Path
) -> Result:
    """Play one in a temporary directory; the logs of what is not ordinary stay."""
    directory = Path(tempfile.mkdtemp(prefix=f"barstream-run-{scenario.name}-"))
    try:
        result = play(scenario, bootstrap, cluster, directory)
        if result.problems or result.ended or result.recovery_s > _SLOW_S:
            place = kept / f"logs-{scenario.name}"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            for log in directory.glob("*.log"):
                shutil.copy(log, place)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return result
