"""Bars as JSON and back: the field names of the bar schema, times ISO 8601 UTC."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from barstream.model.bar import Bar
from barstream.model.bar_fields import BAR_FIELDS, NAMES, STORED, FieldKind, values_of
from barstream.model.time import (
    days_from_iso_date,
    iso_date_from_days,
    iso_from_us,
    iso_micros_from_us,
    us_from_iso,
)

#: What JSON has as text, and how.
_TEXTS: Final[Mapping[FieldKind, Callable[[int], str]]] = {
    FieldKind.BUCKET: iso_from_us,
    FieldKind.TIME: iso_micros_from_us,
    FieldKind.DATE: iso_date_from_days,
}
_AS_TEXT: Final = [(f.name, _TEXTS[f.kind]) for f in BAR_FIELDS if f.kind in _TEXTS]
_FROM_TEXT: Final[Mapping[FieldKind, Callable[[str], int]]] = {
    FieldKind.BUCKET: us_from_iso,
    FieldKind.TIME: us_from_iso,
    FieldKind.DATE: days_from_iso_date,
}


def bar_to_json(bar: Bar) -> dict[str, Any]:
    """The fields of ``bar`` by name, ready to be written as JSON; absent ones are null.

    Exact sums are left out: ``volume`` and ``turnover`` are what they round to.
    """
    row = dict(zip(NAMES, values_of(bar), strict=True))
    for name, text_of in _AS_TEXT:
        value = row[name]
        if value is not None:
            row[name] = text_of(value)
    return row


def bar_from_json(row: Mapping[str, Any]) -> Bar:
    """The bar of one JSON object; ``status`` says whether it is final, as does ``close_offset``.

    Raises:
        KeyError: a field is missing.
        ValueError: a time or date is none.
    """
    close_offset = row["close_offset"]
    status = row.get("status")
    return Bar(
        **{field.attribute: _read(row[field.name], field.kind) for field in STORED},
        final=close_offset is not None if status is None else status == "final",
    )


def _read(value: Any, kind: FieldKind) -> Any:
    read = _FROM_TEXT.get(kind)
    return value if read is None or value is None else read(value)
