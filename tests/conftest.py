"""Fixtures shared by all tests: real Kafka, unique names, real market data."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from tests.examples import examples
from tests.kafka_cluster import KafkaCluster
from tests.kafka_jars import ROOT, KafkaUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# How long an example takes says something of what else the machine does, and nothing of the code.
settings.register_profile(
    "unhurried",
    settings.default,
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unhurried")

#: Folders that stay in one process; of the others each file goes where there is room.
_PROCESSES = {"functional": "functional", "chaos": "drills", "upgrade": "drills"}


@dataclass(frozen=True)
class RunningKafka:
    """A broker somebody else runs, named by ``BARSTREAM_TEST_BOOTSTRAP``."""

    bootstrap: str


def _must_run() -> bool:
    """Whether skipping for want of Kafka would hide that nothing was tested."""
    return os.environ.get("BARSTREAM_REQUIRE_KAFKA") == "1" or os.environ.get("CI") == "true"


def _unavailable(error: KafkaUnavailableError) -> None:
    if _must_run():
        pytest.fail(f"real Kafka is required here: {error}", pytrace=False)
    pytest.skip(str(error))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs real Kafka, so that ``-m "not kafka"`` leaves exactly that out."""
    for item in items:
        if {"kafka", "new_kafka"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("kafka")


class ByRoom(LoadScopeScheduling):  # type: ignore[misc]  # it comes without types
    """Of the processes of `make test` one has the drills, one what runs whole pipelines.

    The drills keep machines busy and measure; the other makes what its modules share once.  The
    rest goes by file to whoever is idle: three processes on two cores, because most of them wait.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return _PROCESSES.get(Path(file).parts[1], file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByRoom:
    """How tests are shared between processes (``-n``)."""
    return ByRoom(config, log)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaCluster | RunningKafka]:
    """One node of Apache Kafka for the whole run; address in ``.bootstrap``.

    Shared: use names from `unique`, and never stop it (see `new_kafka`).
    ``BARSTREAM_TEST_BOOTSTRAP`` names a broker that runs already.
    """
    running = os.environ.get("BARSTREAM_TEST_BOOTSTRAP")
    if running:
        yield RunningKafka(running)
        return
    try:
        cluster = KafkaCluster()
    except KafkaUnavailableError as error:
        _unavailable(error)
        return
    with cluster:
        yield cluster


@pytest.fixture
def new_kafka() -> Iterator[Callable[..., KafkaCluster]]:
    """Start clusters of one's own (``new_kafka(3)``) to stop, kill, freeze and restart."""
    clusters: list[KafkaCluster] = []

    def start(nodes: int = 1, **options: Any) -> KafkaCluster:
        try:
            cluster = KafkaCluster(nodes, **options)
        except KafkaUnavailableError as error:
            _unavailable(error)
            raise
        clusters.append(cluster)
        return cluster.start()

    yield start
    for cluster in clusters:
        cluster.close()


@pytest.fixture(scope="module")
def module_kafka() -> Iterator[KafkaCluster]:
    """One node of its own for the tests of a module, which may stop it and harm its files."""
    try:
        cluster = KafkaCluster()
    except KafkaUnavailableError as error:
        _unavailable(error)
        raise
    with cluster:
        yield cluster


@pytest.fixture
def unique() -> str:
    """A prefix for topic names and app ids that no other test has: ``t4f1c09ab``."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture(scope="session")
def data_dir_real() -> Path:
    """Directory of the recorded market data (``BARSTREAM_REAL_DATA``, else ``../shared/data``)."""
    configured = os.environ.get("BARSTREAM_REAL_DATA")
    path = Path(configured) if configured else ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(
            f"no recorded market data at {path}: set BARSTREAM_REAL_DATA to the directory "
            "with the tick files to run this test"
        )
    return path
