"""Records written with one Avro schema to ticks: in columns, or one by one where that is exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.avro.columns import ColumnReader, Columns
from barstream.codecs.avro.reference import MalformedError, read_body, reader_of
from barstream.codecs.avro.row_layout import Slot, flatten
from barstream.codecs.avro.schema import Node
from barstream.codecs.avro.validation import scan
from barstream.codecs.ticks.conversion import Codes, Part, convert
from barstream.codecs.ticks.mapping import bind
from barstream.codecs.ticks.rejections import Verdicts
from barstream.codecs.ticks.scale import Mask
from barstream.codecs.ticks.series_names import SeriesNames
from barstream.config.sections import TickSettings
from barstream.model.rejection import Reason

HEADER_BYTES: Final = 5
"""Magic 0 and a big-endian schema id: Confluent framing."""


class SchemaReader:
    """Reads records of one Avro schema.

    A record's verdict is that of `barstream.codecs.avro.reference`, whatever stands beside it.  A
    list without garbage passes in columns; in any other the well-formed records are found first, in
    columns too when the schema is flat, and then read.

    Args:
        settings: section ``ticks``.
        schema: the writer's schema.
        origin: where it came from, for messages.
        names: shared by all readers of a decoder.
        framed: whether each value begins with a header, which is not looked at here.

    Raises:
        SchemaError: the mapping does not fit the schema.
    """

    def __init__(
        self,
        settings: TickSettings,
        schema: Node,
        origin: str,
        names: SeriesNames,
        *,
        framed: bool,
    ) -> None:
        self._mapping = bind(settings, schema, origin)
        self._names = names
        self._skip = HEADER_BYTES if framed else 0
        self._body = reader_of(schema)
        self._slots = flatten(schema)
        self._columns = None if self._slots is None else ColumnReader(self._slots, framed=framed)

    def read(self, values: Sequence[bytes | None]) -> Part:
        """One part with every record of ``values``, refused or not; None is no tick."""
        if self._columns is not None and values:
            try:
                return self._from_columns(self._columns.read(values))
            except (ValueError, TypeError):
                pass  # there is garbage in it, or None
        whole = Part.blank(len(values))
        present = [at for at, value in enumerate(values) if value is not None]
        if len(present) < len(values):
            absent = np.array([at for at, value in enumerate(values) if value is None], np.intp)
            whole.verdicts.refuse(absent, Reason.UNDECODABLE, "a value is required, found null")
        bodies = [value for value in values if value is not None]
        if self._slots is None or self._columns is None:
            self._walk_into(whole, np.array(present, np.intp), bodies)
        else:
            self._scan_into(whole, np.array(present, np.intp), bodies, self._slots, self._columns)
        return whole

    def _scan_into(
        self,
        whole: Part,
        at: NDArray[np.intp],
        bodies: list[bytes],
        slots: list[Slot],
        columns: ColumnReader,
    ) -> None:
        sound = np.ones(len(bodies), np.bool_)
        for detail, bad in scan(bodies, slots, self._skip):
            whole.verdicts.refuse(at[bad], Reason.UNDECODABLE, detail)
            sound[bad] = False
        kept = np.flatnonzero(sound)
        if not len(kept):
            return
        survivors = [bodies[number] for number in kept.tolist()]
        try:
            part = self._from_columns(columns.read_sound(survivors))
        except ValueError:
            # pyruhvro refuses what we take for sound (no case is known): one by one, then.
            self._walk_into(whole, at[kept], survivors)
        else:
            whole.put(at[kept], part)

    def _from_columns(self, columns: Columns) -> Part:
        verdicts = Verdicts(columns.rows)
        for path, bad in columns.not_utf8():
            verdicts.refuse(bad, Reason.UNDECODABLE, f"field {path}: the text is no UTF-8")
        return convert(self._mapping, columns, verdicts, self._names)

    def _walk_into(self, whole: Part, at: NDArray[np.intp], bodies: list[bytes]) -> None:
        records: list[dict[str, Any]] = []
        kept: list[int] = []
        wrong: dict[int, str] = {}
        for position, body in zip(at.tolist(), bodies, strict=True):
            try:
                records.append(read_body(self._body, body, self._skip))
            except MalformedError as error:
                wrong[position] = str(error)
            else:
                kept.append(position)
        whole.verdicts.refuse_each(wrong, Reason.UNDECODABLE)
        if records:
            part = convert(self._mapping, _Walked(records), Verdicts(len(records)), self._names)
            whole.put(np.array(kept, np.intp), part)


class _Walked:
    """Fields of records read one by one."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self._records = records
        self._found: dict[str, list[Any]] = {}

    def absent(self, path: str) -> Mask | None:
        absent = np.array([value is None for value in self._field(path)], np.bool_)
        return absent if absent.any() else None

    def values(self, path: str) -> NDArray[Any]:
        return np.array([0 if value is None else value for value in self._field(path)])

    def words(self, path: str) -> tuple[Codes, list[bytes]]:
        known: dict[bytes, int] = {}
        codes = [known.setdefault(blob, len(known)) for blob in self.blobs(path)]
        return np.array(codes, np.int32), list(known)

    def blobs(self, path: str) -> list[bytes]:
        return [value or b"" for value in self._field(path)]

    def _field(self, path: str) -> list[Any]:
        if path not in self._found:
            values: list[Any] = self._records
            for name in path.split("."):
                values = [None if value is None else value[name] for value in values]
            self._found[path] = values
        return self._found[path]
