"""Partitions as the web reads them, with real engines and no Kafka behind them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickColumns
from barstream.codecs.topics.rules import RulesRow
from barstream.codecs.topics.series_seen import UniverseReading
from barstream.heartbeat.report import HeartbeatReport
from barstream.kafka.consumer_group import Declaration
from barstream.kafka.topic_monitor import TopicMonitor
from barstream.market.schedule import MarketScheduleProvider
from barstream.market.universe import Universe
from barstream.metrics import Metrics
from barstream.model.bar import Bar
from barstream.model.key import FOLDED
from barstream.model.period import MINUTE, Period
from barstream.partition.finals_view import FinalsView
from barstream.partition.machine import MachineOptions, PartitionMachine
from barstream.rules.series import Rules
from barstream.runtime.agreement import Agreement
from barstream.runtime.app import BarstreamApp
from barstream.runtime.assignment import Assignment
from barstream.runtime.flush import bar_rows
from barstream.runtime.membership import Membership
from barstream.runtime.restore_progress import RestoreProgress
from barstream.runtime.spellings import Spellings
from barstream.runtime.tally import Tally
from barstream.serve.health import Reporting
from barstream.serve.worker_reads import WorkerReads
from barstream.store.finals import FinalsPartition
from tests.cluster import cluster_at

if TYPE_CHECKING:
    from barstream.heartbeat.leader import Leader
    from barstream.runtime.schedule import ScheduleService

OWN_URL, OTHER_URL = "http://10.0.0.1:6066", "http://10.0.0.2:6066"


@dataclass
class StubStore:
    """Rows of a table, in a dictionary."""

    rows: dict[bytes, bytes] = field(default_factory=dict)

    def range(self, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        return ((key, self.rows[key]) for key in sorted(self.rows) if first <= key < end)

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def retained_from_us(self, _broker: str, _symbol: str) -> int | None:
        return None

    def range_back(self, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(list(self.range(first, end))[::-1])

    def put(self, *bars: Bar) -> None:
        self.rows.update((row.key or b"", row.value or b"") for row in bar_rows(bars))


@dataclass
class StubOwned:
    """A partition held, as far as reads look at it."""

    engine: PartitionMachine
    fenced: bool = False

    def stored(self, period: Period = MINUTE) -> StubStore:
        return cast("StubStore", self.engine.book.stores[period])

    @property
    def partition(self) -> int:
        return self.engine.partition


@dataclass
class StubSettings:
    rules: Rules
    periods: tuple[Period, ...]
    judged_by: RulesRow | None = None
    ticks_topic: str = "ticks"
    heartbeat_topic: str = "hb_1m"


@dataclass
class StubStandbys:
    """Copies that lack so many rows, by partition."""

    lag: dict[int, int] = field(default_factory=dict)
    rows: int = 0
    reopened: int = 0

    @property
    def held(self) -> dict[int, int]:
        return self.lag


@dataclass
class StubPartitions:
    """Partition 0, and whatever a test adds."""

    settings: StubSettings
    owned: dict[int, StubOwned]
    generation: int = 1
    monitor: TopicMonitor = field(default_factory=lambda: TopicMonitor(cluster_at(), "ticks"))
    progress: RestoreProgress | None = None
    standbys: StubStandbys = field(default_factory=StubStandbys)
    tally: Tally = field(default_factory=lambda: Tally(Metrics()))

    @property
    def restoring(self) -> bool:
        return self.progress is not None

    @property
    def real(self) -> Assignment:
        return cast("Assignment", self)


def stub_partitions(
    provider: MarketScheduleProvider, rules: Rules, *periods: Period
) -> StubPartitions:
    stores = {period: cast("FinalsPartition", StubStore()) for period in (MINUTE, *periods)}
    engine = PartitionMachine(
        0,
        rules,
        provider,
        lambda _broker, _symbol: None,
        book=FinalsView(stores),
        options=MachineOptions(periods=periods),
    )
    return StubPartitions(StubSettings(rules, periods), {0: StubOwned(engine)})


def stub_app(membership: Membership | None = None, highwater: int | None = None) -> BarstreamApp:
    """Of a worker that holds partition 0 of three; another one holds 1, and nobody 2."""
    conf = SimpleNamespace(id="app", canonical_url=OWN_URL)
    topics = {OWN_URL: {"ticks": [0], "hb_1m": [0]}, OTHER_URL: {"ticks": [1]}}
    consumer = SimpleNamespace(highwater=lambda _tp: highwater, topic_partitions={"ticks": 3}.get)
    if membership is None:
        membership = Membership(6.0, lambda: 0.0)
        membership.heard(0.0)
    app = SimpleNamespace(
        rebalancing=False,
        conf=conf,
        assignor=SimpleNamespace(external_topic_distribution=topics),
        consumer=consumer,
        membership=membership,
    )
    return cast("BarstreamApp", app)


def stub_reads(
    partitions: StubPartitions,
    provider: MarketScheduleProvider,
    universe: Universe | None = None,
    membership: Membership | None = None,
) -> WorkerReads:
    app, universe = stub_app(membership), universe or Universe()
    return WorkerReads(app, partitions.real, provider, universe)


def stub_reporting(
    partitions: StubPartitions,
    provider: MarketScheduleProvider,
    universe: Universe,
    metrics: Metrics | None = None,
    report: HeartbeatReport | None = None,
    reading: UniverseReading | None = None,
    membership: Membership | None = None,
    highwater: int | None = None,
    leads: bool = False,
    spellings: Spellings | None = None,
    agreement: Agreement | None = None,
) -> Reporting:
    app = stub_app(membership, highwater)
    status = SimpleNamespace(rows=0, series=0, refused=9, failures=1)
    report = report or HeartbeatReport()
    return Reporting(
        WorkerReads(app, partitions.real, provider, universe),
        reading or UniverseReading(universe),
        cast("ScheduleService", SimpleNamespace(status=status)),
        cast("Leader", SimpleNamespace(leads=leads, report=report)),
        spellings or Spellings(FOLDED, lambda: provider.index, metrics or Metrics()),
        agreement or Agreement("b-host-1", Declaration("1.0")),
    )


def feed(
    engine: PartitionMachine,
    symbol: str,
    times_us: list[int],
    *,
    late_us: int = 0,
    price: float = 1.0,
) -> None:
    """Ticks of broker ``B``, each at 1 more than the last, appended ``late_us`` after they were."""
    begin, n = engine.position or 0, len(times_us)
    offsets = np.arange(begin, begin + n, dtype=np.int64)
    times = np.array(times_us, np.int64)
    prices = np.arange(price, price + n, dtype=np.float64)
    nothing: list[Any] = [None] * n
    engine.apply_ticks(
        RecordChunk("ticks", 0, begin, begin + n, nothing, nothing, offsets, times + late_us, True),
        TickColumns(
            np.zeros(n, np.int32), [("B", symbol)], times, prices, np.ones(n), None,
            [],
        ),
        0,
        at_end=False,
    )  # fmt: skip
