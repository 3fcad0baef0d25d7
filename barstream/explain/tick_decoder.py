"""The ticks of one series among records of any, as columns."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import Rejected, TickDecoder
from barstream.config import Settings
from barstream.log.rules import told_rows
from barstream.log.series import PartitionRows
from barstream.log.snapshot import parts

#: A tick too far in the future is wanted as well: the verdict is passed where it is used.
_NO_LIMIT_US: Final = 1 << 59


@dataclass(frozen=True, slots=True)
class Mine:
    """Ticks of the series in a batch: positions in it and values, each of shape (n,).

    Attributes:
        invalid: by position, those of them that are no tick for all that, and why.
        unreadable: the records of the whole batch of which series or time cannot be told.
    """

    at: NDArray[np.intp]
    time_us: NDArray[np.int64]
    price: NDArray[np.float64]
    size: NDArray[np.float64]
    invalid: Mapping[int, Rejected]
    unreadable: list[Rejected]


@dataclass(frozen=True, slots=True)
class Spelling:
    """Whether the names of a partition's ticks were upper-cased, by offset.

    Attributes:
        begins: offsets from which on another rule held, ascending.
        folds: the rule from the beginning, and from each of ``begins`` on.
    """

    begins: tuple[int, ...]
    folds: tuple[bool, ...]

    @classmethod
    def of(cls, rows: PartitionRows, *, now: bool) -> Self:
        """As the log says it; ``now``: by the settings, which hold where it says nothing."""
        told = [
            (row.from_offset, now if row.fold_case is None else row.fold_case)
            for row in told_rows(rows.rules)
        ]
        applied = 0 if rows.position is None else rows.position.next_offset
        begins: list[int] = []
        folds = [now]
        for begin, fold in (*told, (applied, now)):
            if begins and begins[-1] == begin:
                begins.pop()  # nothing was judged in between
                folds.pop()
            if fold != folds[-1]:
                begins.append(begin)
                folds.append(fold)
        return cls(tuple(begins), tuple(folds))

    def at(self, offset: int) -> bool:
        """Whether they were at an offset."""
        return self.folds[bisect_right(self.begins, offset)]


class SeriesDecoder:
    """Decodes ticks by the settings and keeps those of one series, by its normalised names.

    Args:
        settings: how fields are found.
        broker: as the settings of now spell it.
        symbol: likewise.
        spellings: by partition; one that is not there: by the settings.
        withdrawn: by partition the offset below which its ticks are withdrawn.
    """

    def __init__(
        self,
        settings: Settings,
        broker: str,
        symbol: str,
        spellings: Mapping[int, Spelling],
        withdrawn: Mapping[int, int],
    ) -> None:
        self._name = broker, symbol
        self._withdrawn = withdrawn
        self._settings = settings.ticks
        self._spellings = spellings
        self._made: dict[bool, TickDecoder] = {}

    def folds(self, partition: int, offset: int) -> bool:
        """Whether names were upper-cased at a place of the tick topic."""
        spelling = self._spellings.get(partition)
        return self._settings.fold_case if spelling is None else spelling.at(offset)

    def _decoder(self, *, fold_case: bool) -> TickDecoder:
        if fold_case not in self._made:
            self._made[fold_case] = TickDecoder(
                self._settings.model_copy(update={"fold_case": fold_case}),
                max_future_skew_us=_NO_LIMIT_US,
                keeps_invalid=True,
            )
        return self._made[fold_case]

    async def read(
        self,
        values: list[bytes | None],
        timestamps_us: NDArray[np.int64],
        *,
        fold_case: bool,
    ) -> Mine:
        """The ticks of the series in ``values``.

        Args:
            values: of records.
            timestamps_us: theirs, shape (n,).
            fold_case: whether their names were upper-cased.

        Raises:
            RegistryError: a schema is needed and the registry does not answer.
        """
        columns = await self._decoder(fold_case=fold_case).decoded(values, timestamps_us)
        mine = columns.places_of(self._name)
        at = mine if columns.index is None else columns.index[mine]
        invalid, unreadable = {}, columns.rejected
        if columns.rejected:
            own, read = set(at.tolist()), _positions(columns.index, len(values))
            invalid = {one.position: one for one in columns.rejected if one.position in own}
            unreadable = [one for one in columns.rejected if not read[one.position]]
        return Mine(
            at, columns.time_us[mine], columns.price[mine], columns.size[mine], invalid, unreadable
        )

    async def of_chunk(self, chunk: RecordChunk) -> AsyncIterator[tuple[RecordChunk, Mine]]:
        """The ticks of the series in a chunk of the tick topic, part by part."""
        spelling = self._spellings.get(chunk.partition)
        for part in parts(chunk, () if spelling is None else spelling.begins):
            fold_case = self.folds(part.partition, part.start)
            mine = await self.read(part.values, part.timestamps_us, fold_case=fold_case)
            yield part, self._left(part, mine)

    def _left(self, chunk: RecordChunk, mine: Mine) -> Mine:
        """Without those that are withdrawn."""
        left = chunk.offsets[mine.at] >= self._withdrawn.get(chunk.partition, 0)
        if left.all():
            return mine
        at = mine.at[left]
        invalid = {place: mine.invalid[place] for place in at.tolist() if place in mine.invalid}
        return Mine(
            at, mine.time_us[left], mine.price[left], mine.size[left], invalid, mine.unreadable
        )

    def is_withdrawn(self, partition: int, offset: int) -> bool:
        """Whether a tick of the series that stands there is withdrawn."""
        return offset < self._withdrawn.get(partition, 0)


def _positions(index: NDArray[np.intp] | None, count: int) -> NDArray[np.bool_]:
    """Mask of the positions in ``index``, shape (count,); None: all."""
    found = np.full(count, index is None, np.bool_)
    if index is not None:
        found[index] = True
    return found
