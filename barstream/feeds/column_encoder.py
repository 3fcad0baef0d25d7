"""Ticks as columns to record values, in the format and with the field names in force."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from barstream.codecs.avro.body import load_schema
from barstream.codecs.avro.schema import parse_wire
from barstream.codecs.registry import SchemaRegistry
from barstream.codecs.ticks.encoder import encode_ticks
from barstream.codecs.ticks.registry_frame import frame
from barstream.config import TickSettings
from barstream.feeds.encoder import FLOATS, ColumnEncoding, TickEncoder, TickEncodingError
from barstream.feeds.record_encoder import AvroRecords, JsonRecords


class PackagedTicks:
    """The packaged ``tick.avsc``, in columns.

    Args:
        schema_id: of a registry, for Confluent framing; None: plain bodies.
    """

    takes_nan = True
    fields = FLOATS

    def __init__(self, schema_id: int | None = None) -> None:
        self._schema_id = schema_id

    def encode(self, ticks: ColumnEncoding) -> list[bytes]:
        """One Avro body a tick."""
        owner = pa.array(ticks.series)
        bodies = encode_ticks(
            pa.array([broker for broker, _ in ticks.names]).take(owner),
            pa.array([symbol for _, symbol in ticks.names]).take(owner),
            ticks.time_us,
            ticks.price,
            None if ticks.size is None else np.where(np.isnan(ticks.size), 0.0, ticks.size),
        )
        if self._schema_id is None:
            return bodies
        return [frame(self._schema_id, body) for body in bodies]


async def tick_encoder(settings: TickSettings, topic: str) -> TickEncoder:
    """The encoder for section ``ticks``; ``topic`` is where the ticks will go.

    With a registry the latest schema of ``{topic}-value`` is used; a subject that is not there
    yet gets the packaged schema.

    Raises:
        SchemaError: the mapping does not fit the schema.
        RegistryError: the registry does not answer.
    """
    if settings.format == "json":
        return JsonRecords(settings)
    packaged: dict[str, Any] = load_schema("tick")
    if settings.registry_url is not None:
        registry, subject = SchemaRegistry(settings.registry_url), f"{topic}-value"
        latest = await registry.latest(subject)
        if latest is None:
            if not _is_default(settings):
                raise TickEncodingError(
                    f"subject {subject!r} must be in the registry when [ticks] maps other fields "
                    "than those of the packaged schema: register your schema first"
                )
            return PackagedTicks(await registry.register(subject, packaged))
        schema_id, registered = latest
        node = registered.parse()
        if registered.known:
            raise TickEncodingError(
                f"the schema of {subject!r} refers to other schemas, which feeds cannot write: "
                "register one that is whole"
            )
        schema = orjson.loads(registered.text)
        if schema == packaged and _is_default(settings):
            return PackagedTicks(schema_id)
        return AvroRecords(settings, node, schema, subject, schema_id)
    if settings.schema_file is None and _is_default(settings):
        return PackagedTicks()
    schema, origin = packaged, "the packaged tick.avsc"
    if settings.schema_file is not None:
        schema = orjson.loads(settings.schema_file.read_bytes())
        origin = str(settings.schema_file)
    return AvroRecords(settings, parse_wire(schema), schema, origin, None)


def _is_default(settings: TickSettings) -> bool:
    """Whether the mapping is that of the packaged schema."""
    plain = TickSettings()
    names = ("broker", "broker_constant", "symbol", "time", "price", "bid", "ask", "size")
    return all(getattr(settings, name) == getattr(plain, name) for name in names)
