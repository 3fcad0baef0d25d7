"""Confluent framing: each value begins with magic 0 and the id of its writer's schema."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final

import numpy as np

from barstream.codecs.avro.schema import Node
from barstream.codecs.registry import KnownSchemas, RegistryError, SchemaRegistry
from barstream.codecs.ticks.conversion import Part
from barstream.codecs.ticks.schema_reader import HEADER_BYTES, SchemaReader
from barstream.codecs.ticks.series_names import SeriesNames
from barstream.config.sections import TickSettings
from barstream.model.rejection import Reason

_head: Final[Any] = itemgetter(slice(0, HEADER_BYTES))


def frame(schema_id: int, body: bytes) -> bytes:
    """``body`` with the header of Confluent framing before it."""
    return b"\0" + schema_id.to_bytes(4, "big") + body


class FramedReader:
    """Reads framed values; one reader for each schema id."""

    def __init__(
        self,
        settings: TickSettings,
        registry: SchemaRegistry,
        names: SeriesNames,
        clock: Callable[[], float] = time.monotonic,
        unknown_a_minute: int | None = None,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._names = names
        self._known = KnownSchemas(registry, self._reader, clock, unknown_a_minute)
        self._looked_at: tuple[Sequence[bytes | None], set[bytes | None]] | None = None

    def missing(self, values: Sequence[bytes | None]) -> set[int]:
        """Ids in ``values`` that nothing is known of."""
        heads = _heads(values)
        self._looked_at = (values, heads)
        return self._known.missing({each for each in map(_schema_id, heads) if each is not None})

    async def fetch(self, schema_ids: set[int]) -> None:
        """Get to know ``schema_ids``.

        Raises:
            RegistryError: the registry does not answer.
        """
        await self._known.fetch(schema_ids)

    async def check_subject(self, subject: str) -> None:
        """Bind the latest schema of ``subject``, if there is one.

        Raises:
            RegistryError: the registry does not answer.
            SchemaError: the mapping does not fit the schema.
        """
        latest = await self._registry.latest(subject)
        if latest is not None:
            schema_id, schema = latest
            latest_of = f" (the latest of subject {subject})"
            self._known.readers[schema_id] = self._reader(schema_id, schema.parse(), latest_of)

    def read(self, values: Sequence[bytes | None]) -> Part:
        """One part with every record of ``values``, refused or not.

        Raises:
            RegistryError: a schema was not fetched before.
        """
        known, looked_at, self._looked_at = self._known, self._looked_at, None
        # Nearly always `missing` has just been asked about the same list.
        heads = looked_at[1] if looked_at and looked_at[0] is values else _heads(values)
        if len(heads) == 1:
            only = _schema_id(next(iter(heads)))
            if only is not None and only in known.readers:
                return known.readers[only].read(values)
        whole = Part.blank(len(values))
        groups: dict[bytes | None, list[int]] = {}
        for at, value in enumerate(values):
            head = None if value is None else value[:HEADER_BYTES]
            groups.setdefault(head, []).append(at)
        for head, positions in groups.items():
            at_group = np.array(positions, np.intp)
            schema_id = _schema_id(head)
            if schema_id is None:
                found = "null" if head is None else repr(head)
                detail = f"a header of magic 0 and four bytes schema id is required, found {found}"
                whole.verdicts.refuse(at_group, Reason.UNDECODABLE, detail)
            elif schema_id in known.readers:
                group = [values[at] for at in positions]
                whole.put(at_group, known.readers[schema_id].read(group))
            elif schema_id in known.unusable:
                whole.verdicts.refuse(at_group, Reason.UNDECODABLE, known.unusable[schema_id])
            elif schema_id in known.unasked:
                detail = (
                    f"the registry was not asked for schema {schema_id}: it was asked for as many "
                    "unknown ones as it may be in a minute, those of the lowest ids"
                )
                whole.verdicts.refuse(at_group, Reason.UNDECODABLE, detail)
            elif schema_id in known.lacking:
                detail = f"the registry has no schema {schema_id}"
                whole.verdicts.refuse(at_group, Reason.UNDECODABLE, detail)
            else:
                raise RegistryError(
                    f"schema {schema_id} is required to decode a batch and was not fetched: await "
                    "fetch_schemas(missing_schema_ids(values)) before decode"
                )
        return whole

    def _reader(self, schema_id: int, schema: Node, what: str = "") -> SchemaReader:
        origin = f"schema {schema_id}{what}"
        return SchemaReader(self._settings, schema, origin, self._names, framed=True)


def _heads(values: Sequence[bytes | None]) -> set[bytes | None]:
    try:
        return set(map(_head, values))
    except TypeError:  # a value is None
        return {None if value is None else value[:HEADER_BYTES] for value in values}


def _schema_id(head: bytes | None) -> int | None:
    if head is None or len(head) < HEADER_BYTES or head[0]:
        return None
    return int.from_bytes(head[1:], "big")
