"""Formats as Python's ``strptime`` takes them, for whole columns.

Polars has the same letters with other meanings in places: ``%f`` is a count of nanoseconds
there, so ``.123`` would be 123 nanoseconds.  Here a column is matched as Python would match it,
its fraction is put behind a point, its zone in numbers, and polars reads what is then alike in
both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import polars as pl

_OF_POLARS: Final = re.compile(r"%(?:\.\d?f|\df|:z|[CGuVvsUW+])")
"""Directives that only polars has, or reads in its own way: such a format is left as it is."""
_COMPOSED: Final = {"%F": "%Y-%m-%d", "%T": "%H:%M:%S", "%R": "%H:%M", "%D": "%m/%d/%y"}
_MONTHS: Final = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_LONG_MONTHS: Final = (
    "january|february|march|april|may|june|july|august|september|october|november|december"
)
_PATTERNS: Final = {
    "Y": r"\d{4}",
    "m": r"1[0-2]|0[1-9]|[1-9]",
    "d": r"3[01]|[12]\d|0[1-9]|[1-9]| [1-9]",
    "H": r"2[0-3]|[01]\d|\d",
    "I": r"1[0-2]|0[1-9]|[1-9]| [1-9]",
    "M": r"[0-5]\d|\d",
    "S": r"[0-5]\d|\d",
    "y": r"\d{2}",
    "j": r"36[0-6]|3[0-5]\d|[12]\d{2}|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9]",
    "f": r"\d{1,9}",
    "z": r"[+-]\d{2}:?[0-5]\d|Z",
    "Z": r"utc|gmt",
    "p": r"am|pm",
    "b": _MONTHS,
    "h": _MONTHS,
    "B": _LONG_MONTHS,
    "a": r"mon|tue|wed|thu|fri|sat|sun",
    "A": r"monday|tuesday|wednesday|thursday|friday|saturday|sunday",
}
"""As in Python's ``_strptime``, in English; ``%f`` has up to nine digits here, and a leap second
(61) is no instant."""
_LEFT_OUT: Final = "aA"
"""Days of the week say nothing that the date does not."""
_DIRECTIVE: Final = re.compile(r"%(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class StrptimeFormat:
    """A format of Python.

    Attributes:
        pattern: what it matches, whole, for polars; a group a directive.
        rewritten: the groups in the order and spelling that ``polars_format`` reads.
        polars_format: reads ``rewritten``.
        zoned: whether times carry a zone.
    """

    pattern: str
    rewritten: str
    polars_format: str
    zoned: bool

    def parse(self, column: pl.Series) -> pl.Series:
        """Datetimes in microseconds, null where the text does not match or is no date."""
        matches = column.str.contains(self.pattern)
        texts = column.str.replace(self.pattern, self.rewritten)
        if self.zoned:
            texts = texts.str.replace(r"(?: Z| (?i:utc|gmt))$", " +0000")
        found = texts.str.to_datetime(self.polars_format, time_unit="us", strict=False)
        return pl.select(pl.when(matches).then(found)).to_series().alias(column.name)


def python_format(time_format: str) -> StrptimeFormat | None:
    """``time_format`` as Python reads it; None where it is one of polars.

    Raises:
        ValueError: it holds a directive that neither has, or one twice.
    """
    if _OF_POLARS.search(time_format):
        return None
    for short, long in _COMPOSED.items():
        time_format = time_format.replace(short, long)
    seen: list[str] = []

    def group(directive: str) -> str:
        letter = "d" if directive == "e" else directive
        if letter not in _PATTERNS:
            raise ValueError(f"%{letter} is not a directive")
        if letter in seen:
            raise ValueError(f"%{letter} is there twice")
        seen.append(letter)
        return f"(?P<{letter}>{_PATTERNS[letter]})"

    # at odd places stand the letters
    parts = _DIRECTIVE.split(time_format)
    for at, part in enumerate(parts):
        parts[at] = _literal(part) if at % 2 == 0 else "%" if part == "%" else group(part)
    rewritten, polars_format = _in_numbers(seen)
    return StrptimeFormat(
        f"(?i)^{''.join(parts)}$", rewritten, polars_format, not {"z", "Z"}.isdisjoint(seen)
    )


def _in_numbers(seen: list[str]) -> tuple[str, str]:
    """What the groups are rewritten to, and how polars reads that."""
    fields = {
        letter: (f"${{{letter}}}", f"%{'b' if letter == 'h' else letter}")
        for letter in seen
        if letter not in _LEFT_OUT and letter not in "fzZ"
    }
    if "H" not in fields and "I" not in fields:
        fields["H"] = ("0", "%H")
    fields.setdefault("M", ("0", "%M"))
    if "f" in seen:
        seconds, directive = fields.get("S", ("0", "%S"))
        fields["S"] = (f"{seconds}.${{f}}", f"{directive}%.f")
    for zone in "zZ":
        if zone in seen:
            fields["z"] = (f"${{{zone}}}", "%z")
            break
    return " ".join(text for text, _ in fields.values()), " ".join(f for _, f in fields.values())


def _literal(text: str) -> str:
    """Any white space matches any other, as in Python; the rest stands for itself."""
    return re.sub(r"\s+", r"\\s+", re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", text))
