"""The law of roll-ups, checked while the worker runs: a parent is the fold of its children.

What is compared was read back from disk: neither what is folded in memory nor what waits to be
written can hide a difference.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from barstream.metrics import Metrics
from barstream.model.bar import Bar
from barstream.model.period import Period
from barstream.partition.finals_view import FinalsView
from barstream.rules.rollup_fold import fold
from barstream.rules.rollup_members import RollUpMembers
from barstream.rules.series import PartitionState

log = logging.getLogger(__name__)

#: Parents that wait to be checked; when more come, the oldest go unchecked.
_WAITING: Final = 10_000
#: After a check comes a rest of so many times what it took.
_REST: Final = 50.0


class RollUpAudit:
    """Checks the parents of one partition after they were committed.

    Args:
        state: the series and their schedules.
        book: the finals; only what is committed is looked at.
        metrics: counts checks and failures.
        clock: seconds that do not go back.
    """

    def __init__(
        self,
        state: PartitionState,
        book: FinalsView,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._committed = FinalsView(book.stores)
        self._tree = RollUpMembers(self._committed)
        self._metrics = metrics
        self._clock = clock
        self._waiting: deque[tuple[Period, Bar]] = deque(maxlen=_WAITING)
        self._wake = asyncio.Event()

    def committed(self, parents: Iterable[tuple[Period, Bar]]) -> None:
        """These were written."""
        self._waiting.extend(parents)
        if self._waiting:
            self._wake.set()

    async def run(self) -> None:
        """Check what was committed, at two hundredths of the time of a core, until cancelled."""
        while True:
            await self._wake.wait()
            while self._waiting:
                began = self._clock()
                period, parent = self._waiting.popleft()
                try:
                    self.check(period, parent)
                except ValueError:
                    # a row that cannot be read: what needs it will say so, a check must not end
                    log.exception("a bar could not be checked: timeframe=%s", period)
                await asyncio.sleep((self._clock() - began) * _REST)
            self._wake.clear()

    def check(self, period: Period, parent: Bar) -> bool | None:
        """Whether a parent is the fold of its children; None: it can no longer be told."""
        name = parent.broker, parent.symbol
        series = self._state.get(*name)
        if series is None:
            return None
        # it may have been revised since: what stands on disk is compared with what stands there
        stored = self._committed.get(period, *name, parent.bucket_start_us)
        children = self._tree.of(series, period, parent.bucket_start_us)
        if (
            stored is None
            or not children
            or self._tree.is_cut(series, period, parent.bucket_start_us)
        ):
            return None
        self._metrics.invariant_checks.inc()
        expected = fold(children, parent.bucket_start_us)
        if stored.revision >= expected.revision:
            # it also counts children that came after it
            expected = expected.replace(revision=stored.revision)
        if stored == expected:
            return True
        self._metrics.invariant_failures.labels(period.timeframe).inc()
        log.error(
            "a bar is not the fold of its children: timeframe=%s stored=%s fold=%s",
            period, stored, expected,
        )  # fmt: skip
        return False
