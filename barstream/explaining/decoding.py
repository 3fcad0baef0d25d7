"""The ticks of one series among records of any, as columns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.ticks import Rejected, TickDecoder
from barstream.config import Settings
from barstream.history.reading import parts
from barstream.history.regimes import Regimes
from barstream.transport.chunk import RecordChunk

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


class SeriesDecoder:
    """Decodes ticks by the settings and keeps those of one series, by its normalised names.

    Args:
        settings: how fields are found.
        broker: as the settings of now spell it.
        symbol: likewise.
        partition: of the series, if it has one.
        regimes: of that partition: by which names were spelled at an offset; None: by the
            settings.
        withdrawn: by partition the offset below which its ticks are withdrawn.
    """

    def __init__(
        self,
        settings: Settings,
        broker: str,
        symbol: str,
        partition: int | None = None,
        regimes: Regimes | None = None,
        withdrawn: Mapping[int, int] | None = None,
    ) -> None:
        self.partition = partition
        self._name = broker, symbol
        self._withdrawn = withdrawn or {}
        self._settings = settings.ticks
        self._regimes = regimes
        self._made: dict[bool, TickDecoder] = {}

    def _decoder(self, offset: int | None) -> TickDecoder:
        fold_case = self._settings.fold_case
        if self._regimes is not None and offset is not None:
            fold_case = self._regimes.at(offset).rules.fold_case is not False
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
        offset: int | None = None,
    ) -> Mine:
        """The ticks of the series in ``values``, which are spelled alike.

        Args:
            values: of records.
            timestamps_us: theirs, shape (n,).
            offset: of one of them; None: they are spelled as now.

        Raises:
            RegistryError: a schema is needed and the registry does not answer.
        """
        decoder = self._decoder(offset)
        if missing := decoder.missing_schema_ids(values):
            await decoder.fetch_schemas(missing)
        columns = decoder.decode(values, timestamps_us)
        if self._name in columns.names:
            mine = np.flatnonzero(columns.series == columns.names.index(self._name))
        else:
            mine = np.empty(0, np.intp)
        at = mine if columns.index is None else columns.index[mine]
        invalid, unreadable = {}, columns.rejected
        if columns.rejected:
            own, read = set(at.tolist()), _positions(columns.index, len(values))
            invalid = {one.position: one for one in columns.rejected if one.position in own}
            unreadable = [one for one in columns.rejected if not read[one.position]]
        return Mine(
            at, columns.time_us[mine], columns.price[mine], columns.size[mine], invalid, unreadable
        )

    def is_spelled_as_now(self, offset: int) -> bool:
        """Whether names at an offset were spelled as the settings spell them."""
        if self._regimes is None:
            return True
        told = self._regimes.at(offset).rules.fold_case is not False
        return told == self._settings.fold_case

    async def of_chunk(self, chunk: RecordChunk) -> AsyncIterator[tuple[RecordChunk, Mine]]:
        """The ticks of the series in a chunk of the tick topic, part by part."""
        borders = () if self._regimes is None else self._regimes.begin.tolist()
        for part in parts(chunk, borders):
            mine = await self.read(part.values, part.timestamps_us, part.start)
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
