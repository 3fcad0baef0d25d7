"""The finals of a replay while it runs: on disk, so that memory does not grow with the range."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from barstream.market.schedule import Series
from barstream.model.bar import Bar
from barstream.model.period import MINUTE, Period
from barstream.partition.finals_view import FinalsView
from barstream.runtime.flush import bar_rows
from barstream.store.finals import FinalsPartition
from barstream.store.scratch import ScratchDatabase


class ReplayFinals(FinalsView):
    """The finals a replay starts from and those it makes, in databases under ``directory``.

    Attributes:
        cut_us: by series the first minute that is still published, where earlier ones are deleted.
    """

    def __init__(self, directory: Path, partition: int, periods: Iterable[Period]) -> None:
        self._databases = {
            period: ScratchDatabase(directory / f"{partition}-{number}")
            for number, period in enumerate((MINUTE, *periods))
        }
        self._tables = {
            period: FinalsPartition(database, partition)
            for period, database in self._databases.items()
        }
        super().__init__(self._tables)
        self.cut_us: Mapping[Series, int] = {}
        self._written = 0

    def retained_from_us(self, period: Period, broker: str, symbol: str) -> int | None:
        """Minutes before this were deleted; None: none were."""
        return self.cut_us.get((broker, symbol)) if period == MINUTE else None

    def keep(self, period: Period, bars: list[Bar]) -> None:
        """Put finals on disk, and out of memory."""
        if not bars:
            return
        self._written += len(bars)
        rows = [(row.key, row.value) for row in bar_rows(bars) if row.key is not None]
        self._tables[period].write(rows, self._written)
        self.committed(period, bars)

    def close(self) -> None:
        """Let the databases go."""
        for database in self._databases.values():
            database.close()
