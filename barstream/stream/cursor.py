"""The cursor of a stream: how far a client has come in each partition of the topics of finals.

Offsets are Kafka's, so whichever worker is asked understands it.  To a client it is opaque text.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

#: Why a cursor cannot be gone on from: the stream begins anew and says so.
ResetReason = Literal["too_old", "future", "topic_made_anew"]

_VERSION: Final = b"\x01"
_CHECKSUM: Final = 4
_NO_ID: Final = bytes(16)
#: No cursor of a pipeline is longer: 20 periods of 1,000 partitions.
_LONGEST: Final = 200_000
#: Kafka counts offsets in 63 bits.
_LARGEST: Final = 2**63 - 1


class CursorError(ValueError):
    """A cursor that no stream gave, or one of another subscription.

    Give back the id of an event as it came, with the timeframes it was asked for with; or leave
    it out, to begin with what is newest.
    """


@dataclass(frozen=True, slots=True)
class TopicPlace:
    """How far a client has come in one topic.

    Attributes:
        topic_id: identity of the topic (`barstream.kafka.topic_identity`); None where brokers
            give none.
        offsets: by partition, the offset of the record that comes next.
    """

    topic_id: str | None
    offsets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TopicHeld:
    """What a topic of finals still has.

    Attributes:
        topic_id: its identity; None where brokers give none.
        first: by partition, the lowest offset it may still have.
        ends: by partition, the offset of the record that will be written next.
    """

    topic_id: str | None
    first: tuple[int, ...]
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a client is.

    Attributes:
        since_us: no record that it has not been given is older.  Compaction takes a withdrawal
            away after the topic's ``delete.retention.ms``, and no offset tells of that.
        places: by period, as its text: ``1m``.
    """

    since_us: int
    places: Mapping[str, TopicPlace]

    def __str__(self) -> str:
        """base64url without padding, for a header or an address."""
        parts = [_number(self.since_us), _number(len(self.places))]
        for period, place in sorted(self.places.items()):
            name = period.encode()
            identity = _NO_ID if place.topic_id is None else UUID(place.topic_id).bytes
            parts += (_number(len(name)), name, identity, _number(len(place.offsets)))
            parts += map(_number, place.offsets)
        body = _VERSION + b"".join(parts)
        checksum = zlib.crc32(body).to_bytes(_CHECKSUM)
        return base64.urlsafe_b64encode(checksum + body).rstrip(b"=").decode()

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The cursor of its text.

        Raises:
            CursorError: it is none: cut, mistyped, or of a version that is not known here.
        """
        body = _checked(text)
        if body[:1] != _VERSION:
            raise CursorError(
                f"a cursor of version {_VERSION[0]} is required, found version {body[0]}: another "
                "version of barstream gave it; leave the cursor out to begin with what is newest"
            )
        reader = _Reader(body[1:])
        try:
            found = cls(reader.number(), {reader.text(): _place(reader) for _ in reader.times()})
        except (IndexError, UnicodeDecodeError):
            raise _unreadable(text) from None
        if not reader.is_at_end:
            raise _unreadable(text)
        return found

    def reset_reason(
        self, held: Mapping[str, TopicHeld], withdrawals_since_us: int
    ) -> ResetReason | None:
        """Why the records from here on cannot be had; None: they can, without a hole.

        Args:
            held: by period, what the topics of the stream have; just the periods of the cursor.
            withdrawals_since_us: a withdrawal that was written before may have been compacted
                away.

        Raises:
            CursorError: the cursor is of other periods.
        """
        if set(held) != set(self.places):
            raise CursorError(
                f"a cursor of timeframe {', '.join(sorted(held))} is required, found one of "
                f"{', '.join(sorted(self.places)) or 'none'}: ask for the timeframes that the "
                "stream had, or leave the cursor out"
            )
        reasons = {_topic_reason(self.places[period], topic) for period, topic in held.items()}
        if self.since_us < withdrawals_since_us:
            reasons.add("too_old")
        # a topic made anew explains the others
        for reason in _BY_WEIGHT:
            if reason in reasons:
                return reason
        return None


_BY_WEIGHT: Final[tuple[ResetReason, ...]] = ("topic_made_anew", "future", "too_old")


def _topic_reason(place: TopicPlace, held: TopicHeld) -> ResetReason | None:
    if None not in (place.topic_id, held.topic_id) and place.topic_id != held.topic_id:
        return "topic_made_anew"
    if len(place.offsets) != len(held.ends):
        return "topic_made_anew"
    if any(at > end for at, end in zip(place.offsets, held.ends, strict=True)):
        return "future"
    if any(at < first for at, first in zip(place.offsets, held.first, strict=True)):
        return "too_old"
    return None


def _checked(text: str) -> bytes:
    """The body of a cursor, whose checksum is right."""
    if not 0 < len(text) <= _LONGEST:
        raise _unreadable(text)
    try:
        whole = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _unreadable(text) from None
    checksum, body = whole[:_CHECKSUM], whole[_CHECKSUM:]
    if not body or zlib.crc32(body).to_bytes(_CHECKSUM) != checksum:
        raise _unreadable(text)
    return body


def _unreadable(text: str) -> CursorError:
    shown = text if len(text) <= 60 else f"{text[:60]}... of {len(text)} characters"
    return CursorError(
        f"a cursor must be the id of an event of a stream, whole and as it came, found {shown!r}: "
        "leave it out to begin with what is newest"
    )


def _number(value: int) -> bytes:
    """Seven bits a byte, lowest first; the high bit says that more come."""
    if not 0 <= value <= _LARGEST:
        raise ValueError(f"a number of a cursor must be in [0, 2**63), found {value}")
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _place(reader: _Reader) -> TopicPlace:
    identity = reader.take(len(_NO_ID))
    topic_id = None if identity == _NO_ID else str(UUID(bytes=identity))
    return TopicPlace(topic_id, tuple(reader.number() for _ in reader.times()))


class _Reader:
    """Bytes from front to back; IndexError where they end too soon, or a number is too large."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._body)

    def take(self, size: int) -> bytes:
        found = self._body[self._at : self._at + size]
        if len(found) < size:
            raise IndexError(size)
        self._at += size
        return found

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if value > _LARGEST:
                raise IndexError(value)
            if byte < 0x80:
                return value
            shift += 7

    def text(self) -> str:
        return self.take(self.number()).decode()

    def times(self) -> range:
        return range(self.number())
