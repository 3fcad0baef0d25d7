"""Bars back from the JSON that `codecs.topics.bar.bar_to_json` and the web views write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from barstream.model.bar import Bar
from barstream.model.bar_fields import BAR_FIELDS, FieldKind
from barstream.model.time import days_from_iso_date, us_from_iso

_FROM_TEXT: Final[Mapping[FieldKind, Callable[[str], int]]] = {
    FieldKind.BUCKET: us_from_iso,
    FieldKind.TIME: us_from_iso,
    FieldKind.DATE: days_from_iso_date,
}


def bar_from_json(row: Mapping[str, Any]) -> Bar:
    """The bar of one JSON object; ``status`` says whether it is final, as does ``close_offset``.

    Raises:
        KeyError: a field is missing.
        ValueError: a time or date is none.
    """
    close_offset = row["close_offset"]
    status = row.get("status")
    bar = Bar(*(_read(row[field.name], field.kind) for field in BAR_FIELDS))
    bar.final = close_offset is not None if status is None else status == "final"
    return bar


def _read(value: Any, kind: FieldKind) -> Any:
    read = _FROM_TEXT.get(kind)
    return value if read is None or value is None else read(value)
