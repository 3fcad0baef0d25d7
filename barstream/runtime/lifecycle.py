"""What a worker says of its own life: how it starts, what it holds, when it is ready and when not.

At most ten lines until it is ready; after that one line for each change, and none for no change.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from shlex import quote
from typing import TYPE_CHECKING, Final

from mode import Service

from barstream.kafka.cluster import Cluster
from barstream.kafka.connection import answers
from barstream.kafka.troubles import Troubles, span
from barstream.metrics import running_version
from barstream.plurals import counted

if TYPE_CHECKING:
    from barstream.planner import Plan

log = logging.getLogger(__name__)

_LOOK_S: Final = 0.25
_ASK_S: Final = 1.0
#: Rows of a schedule that is being loaded keep coming; it is told when none came for so long.
_SCHEDULE_QUIET_S: Final = 2.0
#: Series of which nobody has loaded a schedule are told together, and not more often.
_UNSCHEDULED_EVERY_S: Final = 600.0
_UNSCHEDULED_QUIET_S: Final = 2.0
_NAMES_SHOWN: Final = 5
_NAMES_KEPT: Final = 10_000
#: A rebalance that goes through is no trouble: what it gave and took is told in any case.
_NOT_READY_S: Final = 5.0
#: A worker that is not ready says so again, each time after twice as long.
_AGAIN_S: Final = 60.0

Series = tuple[str, str]


def schedule_command(unscheduled: Sequence[tuple[str, str]]) -> str | None:
    """The command after which the latest unscheduled series of a broker make bars; else None."""
    if not unscheduled:
        return None
    latest = unscheduled[0][0]
    symbols = [f"--symbol {quote(symbol)}" for broker, symbol in unscheduled if broker == latest]
    return (
        f"barstream schedule load --calendar NAME --broker {quote(latest)} {' '.join(symbols)}, "
        "or barstream schedule load FILE"
    )


@dataclass(frozen=True, slots=True)
class Held:
    """What a worker was given by its group.

    Attributes:
        partitions: of ticks, that it holds.
        standbys: of which it keeps a warm copy.
        count: how many tick partitions there are.
        workers: how many share them.
        leader: whether it sends the heartbeats.
        rows, seconds: read back from Kafka for it, the last time something was.
    """

    partitions: frozenset[int] = frozenset()
    standbys: frozenset[int] = frozenset()
    count: int = 0
    workers: int = 1
    leader: bool = False
    rows: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A look at a worker.

    Attributes:
        reasons: why it is not ready; none: it is.
        percent: of what is read back from Kafka; None: nothing is, or it is not known.
        held: None while the group gives partitions out.
        sessions, series: of the schedule in force; None: it is not read yet, or there is none.
        version: of the schedule.
        unscheduled: series whose ticks come and are rejected because nobody scheduled them.
    """

    reasons: tuple[str, ...] = ()
    percent: float | None = None
    held: Held | None = None
    sessions: int | None = None
    series: int = 0
    version: int = 0
    unscheduled: tuple[Series, ...] = ()


def say_start(plan: Plan, url: str) -> None:
    """The lines before anything is connected.

    Args:
        plan: what will run.
        url: of the page.
    """
    settings = plan.settings
    bars, kafka = settings.bars, settings.kafka
    log.info(
        "barstream %s starts app_id=%s data_dir=%s pid=%d",
        running_version(), settings.app_id, settings.data_dir, os.getpid(),
    )  # fmt: skip
    log.info("brokers: %s security_protocol=%s", settings.bootstrap, kafka.security_protocol)
    timeframes = " ".join(["1m", *(str(period) for period in plan.periods)])
    log.info(
        "bars: %s, %s after a grace of %g s, late ticks %s",
        timeframes,
        "final" if plan.heartbeats else "final by ticks alone (no heartbeats)",
        bars.grace_s,
        {"reject": "are rejected", "revise": "revise them"}[bars.late_policy],
    )
    if not bars.schedule:
        log.info("schedule: none, every series trades 24x7 in UTC")
    log.info("page: %s", url)


class Lifecycle:
    """Puts what has changed between two looks into lines.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began_s = clock()
        self._ended = False
        #: As it was told; None: nothing was.
        self._ready: bool | None = None
        #: Since when it is not ready; None: it is.
        self._unready_s: float | None = self._began_s
        self._again_s = _AGAIN_S
        self._held = Held()
        self._sessions: tuple[int, int] | None = None
        self._version = 0
        self._changed_s: float | None = None
        self._told: set[Series] = set()
        self._unscheduled_at_s: float | None = None
        self._unscheduled_from_s = self._began_s

    @property
    def uptime_s(self) -> float:
        """Since it was made."""
        return self._clock() - self._began_s

    def end(self) -> None:
        """It stops: that it is not ready any more, and gives up what it holds, is no news."""
        self._ended = True

    def look(self, seen: Seen) -> None:
        """Say what is new."""
        if self._ended:
            return
        self._schedule(seen)
        if seen.held is not None:
            self._partitions(seen.held)
        self._readiness(seen)
        self._missing_schedule(seen.unscheduled)

    def _schedule(self, seen: Seen) -> None:
        if seen.sessions is None:
            return
        now = (seen.sessions, seen.series)
        if self._sessions is None:
            self._sessions, self._version = now, seen.version
            if seen.sessions:
                log.info("schedule: %s", _schedule_of(*now))
        elif seen.version != self._version:
            self._version, self._changed_s = seen.version, self._clock()
        elif self._changed_s is not None and self._clock() - self._changed_s >= _SCHEDULE_QUIET_S:
            before, self._sessions, self._changed_s = self._sessions, now, None
            log.info("schedule changed: %s, before %s", _schedule_of(*now), _schedule_of(*before))

    def _partitions(self, held: Held) -> None:
        before, self._held = self._held, held
        taken = held.partitions - before.partitions
        given_up = before.partitions - held.partitions
        if taken or given_up:
            parts = [f"{ranges(taken)} taken"] if taken else []
            parts += [f"{ranges(given_up)} given up"] if given_up else []
            if held.partitions != taken:
                parts.append(f"{ranges(held.partitions)} held")
            if taken and held.rows:
                parts.append(f"{counted(held.rows, 'row')} restored in {span(held.seconds)}")
            workers = counted(held.workers, "worker")
            log.info("partitions: %s, of %d on %s", ", ".join(parts), held.count, workers)
        elif held.workers != before.workers and before.count:
            log.info(
                "partitions: %s held as before, of %d on %s",
                ranges(held.partitions), held.count, counted(held.workers, "worker"),
            )  # fmt: skip
        if held.standbys != before.standbys:
            log.info("standby: a warm copy is kept of partitions %s", ranges(held.standbys))
        if held.leader != before.leader:
            log.info(
                "leader: this worker sends the heartbeats now"
                if held.leader
                else "leader: this worker sends no heartbeats any more, another one does"
            )

    def _readiness(self, seen: Seen) -> None:
        now_s = self._clock()
        if not seen.reasons:
            if not self._ready and self._unready_s is not None:
                again = "" if self._ready is None else " again"
                log.info("ready%s after %s", again, span(now_s - self._unready_s))
            self._ready, self._unready_s = True, None
            return
        if self._unready_s is None:
            self._unready_s, self._again_s = now_s, _AGAIN_S
        passed_s = now_s - self._unready_s
        if self._ready and passed_s >= _NOT_READY_S:
            self._ready = False
            log.warning("not ready: %s", "; ".join(seen.reasons))
        elif not self._ready and passed_s >= self._again_s:
            self._again_s *= 2
            done = "" if seen.percent is None else f" ({seen.percent:.0f} % done)"
            log.warning("not ready for %s: %s%s", span(passed_s), "; ".join(seen.reasons), done)

    def _missing_schedule(self, unscheduled: Iterable[Series]) -> None:
        now_s = self._clock()
        new = [series for series in unscheduled if series not in self._told]
        if not new or now_s < self._unscheduled_from_s or len(self._told) >= _NAMES_KEPT:
            return
        if self._unscheduled_at_s is None:  # the first of many, mostly
            self._unscheduled_at_s = now_s
        if now_s - self._unscheduled_at_s < _UNSCHEDULED_QUIET_S:
            return
        self._told.update(new)
        self._unscheduled_at_s = None
        self._unscheduled_from_s = now_s + _UNSCHEDULED_EVERY_S
        shown = sorted(new)[:_NAMES_SHOWN]
        log.warning(
            "ticks of %s come and make no bar, because no session is loaded for them (%s%s): run "
            "%s; markets that never close need none with bars.schedule = false",
            "1 series" if len(new) == 1 else f"{len(new):,} series",
            ", ".join(" ".join(series) for series in shown),
            "" if len(new) == len(shown) else ", ...",
            schedule_command(shown),
        )


class LifecycleService(Service):
    """Looks at a worker, tells `Lifecycle`, and asks brokers that are away whether they are back.

    Args:
        lifecycle: says what is new.
        troubles: knows which brokers are away.
        look: at the worker.
        cluster: whose brokers are asked.
        brokers: addresses of the brokers by number, as the clients know them now.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        troubles: Troubles,
        look: Callable[[], Seen],
        cluster: Cluster,
        brokers: Callable[[], Mapping[int, str]],
    ) -> None:
        super().__init__()
        self._lifecycle = lifecycle
        self._troubles = troubles
        self._look = look
        self._cluster = cluster
        self._brokers = brokers

    @Service.task
    async def _looking(self) -> None:
        while not self.should_stop:
            self._lifecycle.look(self._look())
            await self.sleep(_LOOK_S)

    @Service.task
    async def _asking(self) -> None:
        while not self.should_stop:
            self._troubles.know(self._brokers())
            for node, address in self._troubles.silent().items():
                if address is not None and await answers(address, self._cluster.options):
                    self._troubles.answers(node)
            self._troubles.look()
            await self.sleep(_ASK_S)


def ranges(numbers: Collection[int]) -> str:
    """``0-3``, ``0-1 7``, ``none``."""
    ordered = sorted(numbers)
    if not ordered:
        return "none"
    starts = [ordered[0], *(after for one, after in pairwise(ordered) if after != one + 1)]
    ends = [*(one for one, after in pairwise(ordered) if after != one + 1), ordered[-1]]
    return " ".join(
        str(first) if first == last else f"{first}-{last}"
        for first, last in zip(starts, ends, strict=True)
    )


def _schedule_of(sessions: int, series: int) -> str:
    return f"{counted(sessions, 'session')} of {series:,} series"
