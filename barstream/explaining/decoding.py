"""The ticks of one series among records of any, as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.ticks import Rejected, TickDecoder
from barstream.config import Settings
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
    """Decodes ticks by the settings and keeps those of one series, by its normalised names."""

    def __init__(self, settings: Settings, broker: str, symbol: str) -> None:
        self._name = broker, symbol
        self._decoder = TickDecoder(
            settings.ticks, max_future_skew_us=_NO_LIMIT_US, keeps_invalid=True
        )

    async def read(self, values: list[bytes | None], timestamps_us: NDArray[np.int64]) -> Mine:
        """The ticks of the series in ``values``.

        Raises:
            RegistryError: a schema is needed and the registry does not answer.
        """
        if missing := self._decoder.missing_schema_ids(values):
            await self._decoder.fetch_schemas(missing)
        columns = self._decoder.decode(values, timestamps_us)
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

    async def of_chunk(self, chunk: RecordChunk) -> Mine:
        """The ticks of the series in a chunk of the tick topic."""
        return await self.read(chunk.values, chunk.timestamps_us)


def _positions(index: NDArray[np.intp] | None, count: int) -> NDArray[np.bool_]:
    """Mask of the positions in ``index``, shape (count,); None: all."""
    found = np.full(count, index is None, np.bool_)
    if index is not None:
        found[index] = True
    return found
