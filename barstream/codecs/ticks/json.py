"""JSON objects to ticks.

A value is one JSON object.  Numbers may be JSON numbers or text; JSON knows no NaN, and
numbers beyond float64 are refused as undecodable, as the parser gives them up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from barstream.codecs.ticks import scale as scaling
from barstream.codecs.ticks.conversion import Part, assemble, middle
from barstream.codecs.ticks.rejections import Verdicts
from barstream.codecs.ticks.scale import Floats, Longs, TimeUnit
from barstream.codecs.ticks.series_names import SeriesNames, Words
from barstream.config.sections import TickSettings
from barstream.model.rejection import Reason

_LONG: Final = 1 << 63


class JsonReader:
    """Reads JSON objects; fields are looked up by name, then, with dots in it, by path."""

    def __init__(self, settings: TickSettings, names: SeriesNames) -> None:
        self._settings = settings
        self._names = names

    def read(self, values: Sequence[bytes | None]) -> Part:
        """One part with every record of ``values``, refused or not; None is no tick."""
        settings, n = self._settings, len(values)
        verdicts = Verdicts(n)
        objects = _objects(values, verdicts)
        price, *ask = [
            self._numbers(path, objects, verdicts, settings.price_scale)
            for path in ([settings.price] if settings.bid is None else [settings.bid, settings.ask])
            if path
        ]
        if ask:
            price = middle(price, ask[0])
        size = (
            np.zeros(n)
            if settings.size is None
            else self._numbers(settings.size, objects, verdicts, 0, absent=0)
        )
        constant = settings.broker_constant
        broker = (
            _words(settings.broker, objects, verdicts)
            if constant is None
            else Words(np.zeros(n, np.int32), [constant.encode()])
        )
        symbol = _words(settings.symbol, objects, verdicts)
        time_us = _times(settings.time, objects, verdicts, settings.time_unit)
        return assemble(verdicts, broker, symbol, time_us, price, size, self._names)

    def _numbers(
        self, path: str, objects: list[Any], verdicts: Verdicts, scale: int, absent: Any = None
    ) -> Floats:
        found = _field(path, objects, absent)
        out = np.zeros(len(found))
        for kind, at in _by_type(found):
            values = [found[number] for number in at.tolist()]
            if kind is int:
                out[at] = scaling.floats_of_ints(values, scale)
            elif kind is float and not scale:
                out[at] = values
            elif kind is str:
                out[at], bad = scaling.floats_of_texts(values, scale)
                _refuse(path, "a whole number" if scale else "a number", found, at[bad], verdicts)
            else:
                _refuse(path, "a whole number" if scale else "a number", found, at, verdicts)
        return out


def _objects(values: Sequence[bytes | None], verdicts: Verdicts) -> list[Any]:
    loads, objects = orjson.loads, []
    wrong: dict[int, str] = {}
    for at, value in enumerate(values):
        found: Any = None
        detail = "a value is required, found null"
        if value is not None:
            try:
                found = loads(value)
                detail = f"a JSON object is required, found {type(found).__name__}"
            except ValueError as error:
                detail = f"not JSON: {error}"
        if type(found) is not dict:
            wrong[at] = detail
            found = {}
        objects.append(found)
    verdicts.refuse_each(wrong, Reason.UNDECODABLE)
    return objects


def _field(path: str, objects: list[Any], absent: Any = None) -> list[Any]:
    """The field in each object, ``absent`` where it is missing or null."""
    found = [record.get(path) for record in objects]
    if None not in found:
        return found
    return [
        absent if (deep := _deep(path, record) if value is None else value) is None else deep
        for value, record in zip(found, objects, strict=True)
    ]


def _deep(path: str, record: Any) -> Any:
    if "." not in path:
        return None
    for name in path.split("."):
        if type(record) is not dict:
            return None
        record = record.get(name)
    return record


def _by_type(values: list[Any]) -> list[tuple[type, NDArray[np.intp]]]:
    """Positions by type: numbers of one type are converted together, never mixed in an array."""
    kinds = list(map(type, values))
    if len(set(kinds)) == 1:
        return [(kinds[0], np.arange(len(values)))]
    return [
        (kind, np.array([at for at, other in enumerate(kinds) if other is kind], np.intp))
        for kind in set(kinds)
    ]


def _words(path: str, objects: list[Any], verdicts: Verdicts) -> Words:
    found = _field(path, objects)
    known: dict[Any, int] = {}
    for kind, at in _by_type(found):
        if kind is not str:
            _refuse(path, "text", found, at, verdicts)
            for number in at.tolist():
                found[number] = ""
    codes = [known.setdefault(word, len(known)) for word in found]
    return Words(np.array(codes, np.int32), [word.encode() for word in known])


def _times(path: str, objects: list[Any], verdicts: Verdicts, unit: TimeUnit) -> Longs:
    found = _field(path, objects)
    times = np.full(len(found), scaling.NO_TIME, np.int64)
    what = "ISO 8601 text" if unit == "iso" else "a time"
    for kind, at in _by_type(found):
        values = [found[number] for number in at.tolist()]
        if kind is str:
            times[at], bad = scaling.times_of_texts(values, unit)
            _refuse(path, what, found, at[bad], verdicts)
        elif kind in _TIMES and unit != "iso":
            times[at] = _TIMES[kind](values, unit)
        else:
            _refuse(path, what, found, at, verdicts)
    return times


def _times_of_ints(values: list[int], unit: TimeUnit) -> Longs:
    # JSON has no limit: what is no int64 is no time either, and -1 says so.
    within = [value if -_LONG <= value < _LONG else -1 for value in values]
    return scaling.times_of_longs(np.array(within, np.int64), unit)


def _times_of_floats(values: list[float], unit: TimeUnit) -> Longs:
    return scaling.times_of_floats(np.array(values, np.float64), unit)


_TIMES: Final[dict[type, Callable[[list[Any], TimeUnit], Longs]]] = {
    int: _times_of_ints,
    float: _times_of_floats,
}


def _refuse(
    path: str, what: str, found: list[Any], at: NDArray[np.intp], verdicts: Verdicts
) -> None:
    verdicts.refuse(
        at,
        Reason.UNDECODABLE,
        lambda number: f"field {path} is required to be {what}, found {_shown(found[number])}",
    )


def _shown(value: Any) -> str:
    """A value for a message; arrays and objects may be nested deeper than Python can spell."""
    match value:
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return repr(str(value)[:40])
