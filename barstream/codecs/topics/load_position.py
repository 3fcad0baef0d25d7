"""How far a file is loaded, as bytes: ``schemas/load_position.avsc``, a plain Avro body."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Final, NamedTuple

from barstream.codecs.avro import body

_SCHEMA: Final = "load_position"


class LastTick(NamedTuple):
    """The newest tick of a load in one partition."""

    offset: int
    """-1: the broker did not say."""
    crc32: int
    """Of its value."""


@dataclass(frozen=True, slots=True)
class LoadPosition:
    """``rows`` ticks of a file are in Kafka, exactly those."""

    load_id: str
    file: str
    ticks_topic: str
    total: int
    rows: int = 0
    done: bool = False
    updated_at_us: int = 0
    last_ticks: dict[int, LastTick] = field(default_factory=dict)
    """By partition."""

    @property
    def key(self) -> bytes:
        """The key of its record."""
        return self.load_id.encode()


def encode(position: LoadPosition) -> bytes:
    """The value of a position record; its key is ``position.key``."""
    row = asdict(position)
    row["updated_at"] = row.pop("updated_at_us")
    row["last_ticks"] = [
        {"partition": partition, "offset": last.offset, "crc32": last.crc32}
        for partition, last in sorted(position.last_ticks.items())
    ]
    return body.encode(_SCHEMA, row)


def decode(value: bytes) -> LoadPosition:
    """The position in ``value``.

    Raises:
        ValueError: the bytes are not one position.
    """
    row = body.decode(_SCHEMA, value)
    return LoadPosition(
        load_id=row["load_id"],
        file=row["file"],
        ticks_topic=row["ticks_topic"],
        rows=row["rows"],
        total=row["total"],
        done=row["done"],
        updated_at_us=row["updated_at"],
        last_ticks={
            last["partition"]: LastTick(last["offset"], last["crc32"]) for last in row["last_ticks"]
        },
    )
