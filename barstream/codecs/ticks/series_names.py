"""From the spellings in the records to the one name of a series."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from barstream.codecs.ticks.rejections import Verdicts
from barstream.model.key import FOLDED, NameRule
from barstream.model.rejection import Reason

#: Together they bound the memory that names made up by a hostile producer can take.
_REMEMBERED: Final = 100_000
_REMEMBERED_BYTES: Final = 256
_UNUSED: Final = -1
#: Code of a record without a name.
UNNAMED: Final = _UNUSED


class Words(NamedTuple):
    """A text column: indices, shape (n,), into its distinct values."""

    codes: NDArray[np.int32]
    values: list[bytes]


class Respelled(NamedTuple):
    """Two spellings, case alone between them, that the rule makes one series."""

    series: tuple[str, str]
    first: tuple[str, str]
    other: tuple[str, str]


class SeriesNames:
    """Normalises names, each spelling once; spellings of one series get one code.

    Args:
        name_rule: how names are spelled.
        names_refused: whether records that are refused as invalid have a name as well; one whose
            name cannot be one has the code `UNNAMED` then.
    """

    def __init__(self, name_rule: NameRule = FOLDED, *, names_refused: bool = False) -> None:
        self._name_rule = name_rule
        self._names_refused = names_refused
        self._known: dict[tuple[bytes, bytes], tuple[str, str] | str] = {}
        #: How each series was written first; None once a second way was told.
        self._first: dict[tuple[str, str], tuple[str, str] | None] = {}
        self._respelled: list[Respelled] = []

    def codes(
        self, broker: Words, symbol: Words, verdicts: Verdicts
    ) -> tuple[NDArray[np.int32], list[tuple[str, str]]]:
        """The series of each record, as a code into the list of names.

        A name is listed only when a record that is not refused has it (or that can be read, if
        refused ones are named as well); records whose name cannot be one are refused as invalid.
        """
        width = len(symbol.values)
        pair = symbol.codes
        if len(broker.values) > 1:
            pair = broker.codes.astype(np.int64) * width + symbol.codes
        named = verdicts.readable if self._names_refused else verdicts.accepted
        wanted = pair if verdicts.clean else pair[named]
        pairs, lookup = _distinct(wanted, len(broker.values) * width)
        names: dict[tuple[str, str], int] = {}
        codes = np.full(len(pairs) + 1, _UNUSED, np.int32)
        wrong: list[tuple[int, str]] = []
        for at, number in enumerate(pairs.tolist()):
            name = self._name(broker.values[number // width], symbol.values[number % width])
            if isinstance(name, str):
                wrong.append((number, name))
            else:
                codes[at] = names.setdefault(name, len(names))
        for number, detail in wrong:
            verdicts.refuse(pair == number, Reason.INVALID, detail)
        series = codes[lookup[pair]] if lookup is not None else codes[_search(pairs, pair)]
        if verdicts.clean or self._names_refused:
            return series, list(names)
        return np.maximum(series, 0), list(names)

    def _name(self, broker: bytes, symbol: bytes) -> tuple[str, str] | str:
        known = self._known.get((broker, symbol))
        if known is None:
            known = self._normalised(broker, symbol)
            if len(broker) + len(symbol) <= _REMEMBERED_BYTES:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[broker, symbol] = known
                if not isinstance(known, str):
                    self._note(known, (broker.decode().strip(), symbol.decode().strip()))
        return known

    def _note(self, series: tuple[str, str], written: tuple[str, str]) -> None:
        """Compare a spelling that is new here with the first one of its series."""
        if len(self._first) >= _REMEMBERED and series not in self._first:
            return
        first = self._first.setdefault(series, written)
        if first is not None and first != written:
            self._first[series] = None
            self._respelled.append(Respelled(series, first, written))

    def take_respelled(self) -> list[Respelled]:
        """The series that since the last call were found in a second spelling, each once."""
        taken, self._respelled = self._respelled, []
        return taken

    def _normalised(self, broker: bytes, symbol: bytes) -> tuple[str, str] | str:
        try:
            return self._name_rule.series(broker.decode(), symbol.decode())
        except ValueError as error:
            return str(error)


def _distinct(
    codes: NDArray[np.integer], limit: int
) -> tuple[NDArray[np.intp], NDArray[np.int32] | None]:
    """Distinct codes and, where ``limit`` allows a table, the place of each among them."""
    if limit > 4 * len(codes) + 65_536:
        return np.unique(codes).astype(np.intp), None
    present = np.zeros(limit, np.bool_)
    present[codes] = True
    found = np.flatnonzero(present)
    lookup = np.full(limit, _UNUSED, np.int32)  # the entry behind the last one: unused
    lookup[found] = np.arange(len(found), dtype=np.int32)
    return found, lookup


def _search(found: NDArray[np.intp], codes: NDArray[np.integer]) -> NDArray[np.intp]:
    at = np.searchsorted(found, codes)
    at[at == len(found)] = _UNUSED
    if len(found):
        at[found[at] != codes] = _UNUSED
    return at
