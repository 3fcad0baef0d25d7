"""Records of one schema as columns: the same conversion whichever way they were read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.ticks import scale
from barstream.codecs.ticks.mapping import Leaf, Number, TickMapping
from barstream.codecs.ticks.rejections import Verdicts
from barstream.codecs.ticks.scale import Floats, Longs, Mask
from barstream.codecs.ticks.series_names import UNNAMED, SeriesNames, Words
from barstream.model.rejection import Reason

Codes = NDArray[np.int32]


class Fields(Protocol):
    """Columns as read; what stands where a field is null is anything of its type."""

    def absent(self, path: str) -> Mask | None:
        """Where the field is null; None: nowhere."""

    def values(self, path: str) -> NDArray[Any]:
        """A number field, or the indices of an enum."""

    def words(self, path: str) -> tuple[Codes, list[bytes]]:
        """A text field as indices into its distinct values."""

    def blobs(self, path: str) -> list[bytes]:
        """A text, bytes or fixed field."""


@dataclass(slots=True)
class Part:
    """``n`` records, all arrays of shape (n,); anything stands where a record is refused.

    ``series`` are indices into ``names``, which has every normalised name once.
    """

    verdicts: Verdicts
    series: Codes
    names: list[tuple[str, str]]
    time_us: Longs
    price: Floats
    size: Floats

    @classmethod
    def blank(cls, n: int) -> Part:
        """Room for ``n`` records, to be filled by `put`."""
        return cls(
            Verdicts(n),
            np.zeros(n, np.int32),
            [],
            np.zeros(n, np.int64),
            np.zeros(n),
            np.zeros(n),
        )

    def put(self, at: NDArray[np.intp], part: Part) -> None:
        """Take over ``part``, whose records stand at positions ``at`` here."""
        known = {name: code for code, name in enumerate(self.names)}
        codes = [known.setdefault(name, len(known)) for name in part.names]
        self.names = list(known)
        if codes:
            self.series[at] = np.array(codes, np.int32)[part.series]
        self.time_us[at], self.price[at], self.size[at] = part.time_us, part.price, part.size
        self.verdicts.take_over(part.verdicts, at)


def convert(mapping: TickMapping, fields: Fields, verdicts: Verdicts, names: SeriesNames) -> Part:
    """Columns as written to ticks; what cannot be a tick is refused in ``verdicts``."""
    n = len(verdicts)
    for leaf in mapping.leaves:
        if leaf.nullable and (mapping.size is None or leaf is not mapping.size.leaf):
            _refuse_absent(leaf, fields, verdicts)
    price, *ask = [_numbers(number, fields, verdicts) for number in mapping.price]
    if ask:
        price = middle(price, ask[0])
    size = _sizes(mapping.size, fields, verdicts, n)
    time_us = _times(mapping, fields, verdicts)
    broker = (
        Words(np.zeros(n, np.int32), [mapping.broker_constant.encode()])
        if mapping.broker is None
        else _words(mapping.broker, fields)
    )
    symbol = _words(mapping.symbol, fields)
    return assemble(verdicts, broker, symbol, time_us, price, size, names)


def assemble(
    verdicts: Verdicts,
    broker: Words,
    symbol: Words,
    time_us: Longs,
    price: Floats,
    size: Floats,
    names: SeriesNames,
) -> Part:
    """A part of converted columns; refuses values no tick can have."""
    if not (finite := np.isfinite(price)).all():
        verdicts.refuse(
            ~finite, Reason.INVALID, lambda at: f"a finite price is required, found {price[at]}"
        )
    if not (sound := np.isfinite(size) & (size >= 0)).all():
        verdicts.refuse(
            ~sound,
            Reason.INVALID,
            lambda at: f"a finite size of 0 or more is required, found {size[at]}",
        )
    if (nowhere := time_us == scale.NO_TIME).any():
        verdicts.refuse(nowhere, Reason.INVALID, _NO_TIME)
    series, found = names.codes(broker, symbol, verdicts)
    if (unnamed := series == UNNAMED).any():
        # of no series, and so of no minute of one; every code is one of a name
        time_us, series = np.where(unnamed, scale.NO_TIME, time_us), np.maximum(series, 0)
    return Part(verdicts, series, found, time_us, price, size)


_NO_TIME: Final = "an event time from 1970 to 9999 is required, found none such"


def middle(bid: Floats, ask: Floats) -> Floats:
    """The price of a quote: ``(bid + ask) / 2``."""
    with np.errstate(over="ignore", invalid="ignore"):
        return (bid + ask) / 2


def _refuse_absent(leaf: Leaf, fields: Fields, verdicts: Verdicts) -> None:
    if (absent := fields.absent(leaf.path)) is not None:
        verdicts.refuse(absent, Reason.UNDECODABLE, f"field {leaf.path} is required, found null")


def _numbers(number: Number, fields: Fields, verdicts: Verdicts) -> Floats:
    path, node = number.leaf.path, number.leaf.node
    match node.kind:
        case "varint":
            return scale.floats_of_longs(fields.values(path), number.scale)
        case "string":
            found, bad = scale.floats_of_texts(_texts(fields, path), number.scale)
            if number.leaf.nullable and (absent := fields.absent(path)) is not None:
                bad &= ~absent
            verdicts.refuse(bad, Reason.UNDECODABLE, f"field {path} is required to be a number")
            return found
        case "bytes" | "fixed":
            return scale.floats_of_decimals(fields.blobs(path), number.scale)
        case _:
            with np.errstate(invalid="ignore"):  # a signalling NaN
                return fields.values(path).astype(np.float64, copy=False)


def _sizes(number: Number | None, fields: Fields, verdicts: Verdicts, n: int) -> Floats:
    if number is None:
        return np.zeros(n)
    sizes = _numbers(number, fields, verdicts)
    absent = fields.absent(number.leaf.path) if number.leaf.nullable else None
    return sizes if absent is None else np.where(absent, 0.0, sizes)


def _times(mapping: TickMapping, fields: Fields, verdicts: Verdicts) -> Longs:
    path = mapping.time.path
    match mapping.time.node.kind:
        case "varint":
            return scale.times_of_longs(fields.values(path), mapping.time_unit)
        case "string":
            times, bad = scale.times_of_texts(_texts(fields, path), mapping.time_unit)
            verdicts.refuse(bad, Reason.UNDECODABLE, f"field {path} is required to be a number")
            return times
        case _:
            with np.errstate(invalid="ignore"):
                values = fields.values(path).astype(np.float64)
            return scale.times_of_floats(values, mapping.time_unit)


def _texts(fields: Fields, path: str) -> list[str]:
    # What is no UTF-8 has been refused already.
    return [blob.decode(errors="replace") for blob in fields.blobs(path)]


def _words(leaf: Leaf, fields: Fields) -> Words:
    if leaf.node.kind == "enum":
        symbols = [symbol.encode() for symbol in leaf.node.names]
        return Words(fields.values(leaf.path).astype(np.int32), symbols)
    return Words(*fields.words(leaf.path))
