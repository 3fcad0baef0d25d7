"""Record values to ticks in columns: the mapping of section ``ticks``, applied to a batch.

Four verdicts are passed here; the first that holds is the one given:

- *too_large*: a batch that was not unpacked, and stands here as a record without a value;
- *undecodable*: no value, no record of the schema (cut, left over, random), a mapped field that
  is missing or null or of another type, a text that is no UTF-8, an unknown schema id;
- *invalid*: price not finite, size negative or not finite, broker or symbol that can be no name
  (`barstream.model.key.trimmed`), event time outside 1970 to 9999;
- *future*: event time later than the record's timestamp + ``max_future_skew_us``; exactly that much
  later is still accepted.  A timestamp that is not the broker's can be as wrong as the tick: there
  the earlier of timestamp and clock at fetch counts, and the clock alone where there is none.
  Without a clock, as when a log is read again, records without a timestamp are not judged.

A verdict is of one record alone: it is the same however records were batched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from barstream.codecs.avro.body import load_schema
from barstream.codecs.avro.schema import SchemaError, parse_wire
from barstream.codecs.registry import SchemaRegistry
from barstream.codecs.ticks.conversion import Part
from barstream.codecs.ticks.json import JsonReader
from barstream.codecs.ticks.registry_frame import FramedReader
from barstream.codecs.ticks.rejections import Rejected
from barstream.codecs.ticks.scale import NO_TIME
from barstream.codecs.ticks.schema_reader import SchemaReader
from barstream.codecs.ticks.series_names import Respelled, SeriesNames
from barstream.config.sections import TickSettings
from barstream.model.rejection import Reason

__all__ = ["Rejected", "TickColumns", "TickDecoder"]


_NONE: Final[Mapping[int, str]] = MappingProxyType({})


@dataclass(slots=True)
class TickColumns:
    """The ticks of a batch, one entry an accepted record, all arrays of shape (n,).

    ``series`` are indices into ``names``, the normalised (broker, symbol) of accepted records,
    each once.  ``index`` is the position of each in the input, ascending; None: all, in order.
    ``rejected`` are the others, by position.
    """

    series: NDArray[np.int32]
    names: list[tuple[str, str]]
    time_us: NDArray[np.int64]
    price: NDArray[np.float64]
    size: NDArray[np.float64]
    index: NDArray[np.intp] | None
    rejected: list[Rejected]

    def __len__(self) -> int:
        return len(self.series)

    def places_of(self, name: tuple[str, str]) -> NDArray[np.intp]:
        """Places in these arrays of the ticks of one series, normalised; none where it has none."""
        if name not in self.names:
            return np.empty(0, np.intp)
        return np.flatnonzero(self.series == self.names.index(name))

    def where(self, keep: NDArray[np.bool_]) -> TickColumns:
        """Those of the ticks, shape (n,), that are to be kept; ``names`` has no others."""
        if keep.all():
            return self
        at = np.flatnonzero(keep)
        series = self.series[at]
        used = np.bincount(series, minlength=len(self.names)) > 0
        code = np.cumsum(used, dtype=np.int32) - np.int32(1)
        return TickColumns(
            code[series],
            [name for name, wanted in zip(self.names, used.tolist(), strict=True) if wanted],
            self.time_us[at],
            self.price[at],
            self.size[at],
            at if self.index is None else self.index[at],
            self.rejected,
        )


class TickDecoder:
    """Decodes record values by the settings.

    Args:
        settings: section ``ticks``.
        max_future_skew_us: how far an event time may lie after the record's timestamp.
        subject: where a registry keeps the schema of the tick topic (``{topic}-value``), to
            find a mapping that cannot work at start.
        unknown_schemas_a_minute: see `KnownSchemas`; None: no limit.
        keeps_invalid: whether records that are invalid, but have the name of a series and an
            event time, stand among the ticks as well as among the rejected.

    Raises:
        SchemaError: the local schema or the mapping cannot be used.
    """

    def __init__(
        self,
        settings: TickSettings,
        *,
        max_future_skew_us: int = 5_000_000,
        subject: str | None = None,
        unknown_schemas_a_minute: int | None = None,
        keeps_invalid: bool = False,
    ) -> None:
        self._skew_us = max_future_skew_us
        self._subject = subject
        self._framed: FramedReader | None = None
        self._reader: SchemaReader | JsonReader | FramedReader
        self._keeps_invalid = keeps_invalid
        names = self._names = SeriesNames(settings.name_rule, names_refused=keeps_invalid)
        if settings.format == "json":
            self._reader = JsonReader(settings, names)
        elif settings.registry_url is not None:
            registry = SchemaRegistry(settings.registry_url)
            self._reader = self._framed = FramedReader(
                settings, registry, names, unknown_a_minute=unknown_schemas_a_minute
            )
        else:
            origin, schema = _local_schema(settings)
            self._reader = SchemaReader(settings, parse_wire(schema), origin, names, framed=False)

    async def start(self) -> None:
        """Look the tick topic's latest schema up, when a registry and a subject are configured.

        Raises:
            RegistryError: the registry does not answer.
            SchemaError: the mapping does not fit the schema.
        """
        if self._framed is not None and self._subject is not None:
            await self._framed.check_subject(self._subject)

    def missing_schema_ids(self, values: Sequence[bytes | None]) -> set[int]:
        """Schema ids in ``values`` that `fetch_schemas` has to be awaited for; else empty."""
        return set() if self._framed is None else self._framed.missing(values)

    async def fetch_schemas(self, schema_ids: set[int]) -> None:
        """Fetch schemas once; an id the registry does not know makes its records undecodable.

        Raises:
            RegistryError: the registry does not answer: nothing is decided, try again.
        """
        if self._framed is not None:
            await self._framed.fetch(schema_ids)

    async def decoded(
        self, values: Sequence[bytes | None], record_ts_us: NDArray[np.int64]
    ) -> TickColumns:
        """Ticks of ``values``, judged by their timestamps alone; what schemas they need is fetched.

        Raises:
            RegistryError: the registry does not answer.
        """
        if missing := self.missing_schema_ids(values):
            await self.fetch_schemas(missing)
        return self.decode(values, record_ts_us)

    def take_respelled(self) -> list[Respelled]:
        """Series of two spellings since the last call, see `SeriesNames.take_respelled`."""
        return self._names.take_respelled()

    def decode(
        self,
        values: Sequence[bytes | None],
        record_ts_us: NDArray[np.int64],
        clock_us: int | None = None,
        too_large: Mapping[int, str] = _NONE,
    ) -> TickColumns:
        """Ticks of ``values``.

        Args:
            values: record values, shape (n,).
            record_ts_us: their timestamps in Kafka, shape (n,), negative where there is none.
            clock_us: the clock when they were fetched; None: they are judged by their timestamps
                alone, which are the broker's, or it is not known.
            too_large: by position, what is said of batches that were not unpacked.

        Raises:
            RegistryError: a schema was not fetched before.
        """
        # pyruhvro reads lists only
        part = self._reader.read(values if isinstance(values, list) else list(values))
        if too_large:
            part.verdicts.refuse_each(too_large, Reason.TOO_LARGE)
        self._refuse_future(part, record_ts_us, "the record's timestamp")
        if clock_us is not None:
            clock = np.full(len(part.time_us), clock_us)
            self._refuse_future(part, clock, "the clock of the worker that read it")
        return _kept(part, invalid=self._keeps_invalid)

    def _refuse_future(self, part: Part, by_us: NDArray[np.int64], what: str) -> None:
        future = (part.time_us > by_us + self._skew_us) & (by_us >= 0)
        if future.any():
            part.verdicts.refuse(
                future,
                Reason.FUTURE,
                lambda at: (
                    f"the event time is {part.time_us[at] - by_us[at]} us after {what}, "
                    f"{self._skew_us} us are allowed"
                ),
            )


def _kept(part: Part, *, invalid: bool) -> TickColumns:
    if part.verdicts.clean:
        return TickColumns(part.series, part.names, part.time_us, part.price, part.size, None, [])
    every = TickColumns(
        part.series, part.names, part.time_us, part.price, part.size, None,
        part.verdicts.rejected(),
    )  # fmt: skip
    if invalid:
        return every.where(part.verdicts.readable & (part.time_us != NO_TIME))
    return every.where(part.verdicts.accepted)


def _local_schema(settings: TickSettings) -> tuple[str, Any]:
    path = settings.schema_file
    if path is None:
        return "the packaged schema tick.avsc", load_schema("tick")
    try:
        return str(path), orjson.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SchemaError(
            f"ticks.schema_file must name an Avro schema (JSON), but {path} cannot be read: {error}"
        ) from error
