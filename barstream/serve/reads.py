"""What the web views ask of the engine: the seam between HTTP and the partitions of a worker.

All names are normalised (`barstream.model.key.NameRule`), all times microseconds UTC, all
intervals half-open.  Every method is called on the worker's event loop and must not wait.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from barstream.market.session import Session
from barstream.model.bar import Bar
from barstream.model.period import Period

if TYPE_CHECKING:
    from barstream.codecs.ticks.series_names import Respelled
    from barstream.runtime.agreement import Other

SeriesKind = Literal["live", "historical", "asleep", "unscheduled"]


class NotHereError(LookupError):
    """This worker does not hold the series, or has lost it since the read began; ask again."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Where a series is.

    Attributes:
        partition: the tick partition its ticks are seen in; None when no tick was seen yet.
        here: whether this worker holds that partition.
        url: base URL of the worker that holds it, when known.
    """

    partition: int | None
    here: bool
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Which worker holds which tick partition, as far as this one knows.

    Attributes:
        url: base URL of this worker.
        here: the partitions it holds, and may answer for.
        holders: every partition there is, with the base URL of the worker that was given it;
            None when nobody is known to hold it.
    """

    url: str
    here: frozenset[int]
    holders: Mapping[int, str | None]

    def elsewhere(self) -> dict[str | None, frozenset[int]]:
        """The partitions that are not here, by the worker that should hold them."""
        found: dict[str | None, frozenset[int]] = {}
        for partition, url in self.holders.items():
            if partition not in self.here:
                known = None if url == self.url else url
                found[known] = found.get(known, frozenset()) | {partition}
        return found


@dataclass(frozen=True, slots=True)
class Reference:
    """What the newest price of a series is compared to.

    Attributes:
        kind: ``close`` of the trading date before the one of the newest tick; ``open`` of the
            date of that tick where the series has no earlier one.
        price: that price.
        trading_date: the date it is of, in days since 1970.
    """

    kind: Literal["close", "open"]
    price: float
    trading_date: int


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """One row of the series list; what this worker does not know is None.

    Attributes:
        kind: ``live`` is closed by heartbeats too, ``historical`` by its own ticks alone,
            ``asleep`` had no tick for too many trading dates and is not filled,
            ``unscheduled`` is live but no longer in the market schedule.
        closed_until_us: every minute before it is closed.
        previous_close: close of its last final minute.
        last_price: close of its newest bar, open or final.
        price_decimals: how many decimals its prices need; it never falls while the worker has
            the series.
        reference: what ``last_price`` is compared to.
        here: whether this worker holds it; if not, ``url`` is who does, when known.
    """

    broker: str
    symbol: str
    partition: int
    kind: SeriesKind
    last_tick_us: int | None = None
    watermark_us: int | None = None
    closed_until_us: int | None = None
    previous_close: float | None = None
    last_price: float | None = None
    price_decimals: int | None = None
    reference: Reference | None = None
    here: bool = True
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether reads may be answered; if not, why (sentences), and how far it has come."""

    ready: bool
    reasons: Sequence[str] = ()
    progress: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stats:
    """The status line.

    Attributes:
        lag: records of all owned tick partitions not applied yet.
        ticks: ticks accepted since this worker started.
        rejected: ticks rejected since then, by reason.
        unscheduled: series whose ticks are rejected because they have no schedule, most
            recent first, the first few.
        scheduled_series: series that have a schedule; None when none is needed (24x7).
        rules: the settings that decide what a bar is, by name: the same on all workers.
        standbys: partitions of which this worker keeps a warm copy, with the changelog rows
            each still lacks.
        respelled: series whose ticks came in two spellings that are folded into one, the first
            few since this worker started.
        version: of barstream, of this worker.
        others: the other workers of the group, as they were seen last.
    """

    app_id: str
    leader: bool
    partitions: Sequence[int] = ()
    lag: int = 0
    ticks: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    unscheduled: Sequence[tuple[str, str]] = ()
    scheduled_series: int | None = None
    last_heartbeat_us: int | None = None
    standbys: Mapping[int, int] = field(default_factory=dict)
    rules: Mapping[str, Any] = field(default_factory=dict)
    respelled: Sequence[Respelled] = ()
    version: str | None = None
    others: Sequence[Other] = ()


class Reads(Protocol):
    """The engine as the web sees it."""

    @property
    def url(self) -> str:
        """Base URL of this worker."""
        ...

    @property
    def here(self) -> Collection[int]:
        """The partitions this worker holds, and may answer for."""
        ...

    @property
    def periods(self) -> Sequence[Period]:
        """Of the bars there are, the shortest first: minutes and the pipeline's roll-ups."""
        ...

    def bars(
        self,
        broker: str,
        symbol: str,
        period: Period,
        from_us: int,
        to_us: int,
        limit: int,
        *,
        descending: bool,
    ) -> Sequence[Bar]:
        """Bars with ``from_us <= bucket_start_us < to_us``, live and final merged, final wins.

        Ascending, or descending from the latest; at most ``limit``.

        Raises:
            NotHereError: the series is not here, or no longer: nothing is half an answer.
        """
        ...

    def bucket_of(self, broker: str, symbol: str, period: Period, ts_us: int) -> int:
        """Start of the bucket that holds an instant; the instant itself when none does."""
        ...

    def retained_from_us(self, broker: str, symbol: str, period: Period) -> int | None:
        """Finals of a series that is here that start before this were deleted, as in Kafka.

        None: none were.

        Raises:
            NotHereError: the series is not here, or no longer.
        """
        ...

    def live(self, broker: str, symbol: str, period: Period) -> Sequence[Bar]:
        """The open bars of a series, ascending.

        Raises:
            NotHereError: the series is not here, or no longer.
        """
        ...

    def names(self, partitions: Iterable[int]) -> list[tuple[str, str]]:
        """Broker and symbol of every series with a tick in these partitions, ascending.

        Raises:
            NotHereError: one of the partitions is not here.
        """
        ...

    def known(self) -> Iterable[tuple[str, str]]:
        """Broker and symbol of every series that was seen or has sessions, here or elsewhere."""
        ...

    def placement(self) -> Placement:
        """Which worker holds which partition."""
        ...

    def series(
        self, partitions: Collection[int], after: tuple[str, str] | None = None
    ) -> Iterable[SeriesInfo]:
        """Every known series of these partitions, here or not, by broker and symbol, lazily.

        Args:
            partitions: of ticks, on this worker or on others.
            after: only series past this one.

        Raises:
            NotHereError: while it was gone through a partition went away.
        """
        ...

    def owner(self, broker: str, symbol: str) -> Owner:
        """Where the series is."""
        ...

    def schedule(
        self, broker: str, symbol: str, from_us: int, to_us: int
    ) -> Iterable[Session] | None:
        """Sessions with a minute in [from_us, to_us), ascending, lazily; None: unscheduled."""
        ...

    def ready(self) -> Readiness:
        """Once the schedule is read, the tables are restored and no rebalance runs."""
        ...
