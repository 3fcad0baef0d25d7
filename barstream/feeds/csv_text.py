"""Delimited text to columns of text: a row is a line, and a row of another width is named.

Polars reads; where a file is not of one width (cut rows, quotes that do not close), it is read
again line by line, so that each row that cannot be used is known by its number.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pyarrow import ArrowInvalid
from pyarrow import csv as arrow_csv

from barstream.feeds.container import TickSource
from barstream.feeds.header import UNNAMED
from barstream.feeds.layout import TickFileError

DELIMITERS: Final = (",", ";", "\t", "|")
SAMPLE_BYTES: Final = 1 << 16
_SAMPLE_LINES: Final = 50
_BLOCK: Final = 1 << 22
_BOM: Final = b"\xef\xbb\xbf"
_SEP_LINE: Final = re.compile(r"sep=(.)\s*", re.IGNORECASE)

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a text is cut into fields.

    Attributes:
        delimiter: between fields.
        skip: lines before the first row (a ``sep=`` line of a spreadsheet, empty ones).
        lines: the first lines after them, none empty.
    """

    delimiter: str
    skip: int
    lines: tuple[str, ...]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The fields of each of ``lines``."""
        return [fields_of(line, self.delimiter) or (line,) for line in self.lines]


@dataclass(frozen=True, slots=True)
class RawTable:
    """The columns of a file as they stand in it.

    Attributes:
        frame: one row a row of the file; text, unless the file has types.
        number: the number of each row in the file, from 1, the header counted; shape (n,).
        broken: rows that have no columns, with what is wrong, by number.
    """

    frame: pl.DataFrame
    number: Int64s
    broken: dict[int, str] = field(default_factory=dict)


def dialect_of(source: TickSource, delimiter: str | None = None) -> Dialect:
    """How the text of ``source`` is cut; ``delimiter`` None finds it.

    Raises:
        TickFileError: there is no text.
    """
    sample = source.beginning(SAMPLE_BYTES).removeprefix(_BOM).decode(errors="replace")
    _refuse_no_table(source.name, sample)
    lines = [line.removesuffix("\r") for line in sample.split("\n")]
    if len(lines) > 2:
        lines.pop()  # empty, or cut
    skip = 0
    while lines and (not lines[0].strip() or _SEP_LINE.fullmatch(lines[0])):
        if found := _SEP_LINE.fullmatch(lines[0]):
            delimiter = delimiter or found[1]
        lines, skip = lines[1:], skip + 1
    lines = [line for line in lines if line.strip()][:_SAMPLE_LINES]
    if not lines:
        raise TickFileError(f"{source.name} holds no ticks: it has no rows")
    return Dialect(delimiter or _delimiter(lines), skip, tuple(lines))


def _refuse_no_table(name: str, sample: str) -> None:
    """Raise where a text is none, or no rows of fields.

    Raises:
        TickFileError: says what it is.
    """
    if "\0" in sample.split("\n", 1)[0]:
        raise TickFileError(
            f"{name} must be text in UTF-8, or in UTF-16 with a byte order mark, but its first "
            "line holds zero bytes: save it as UTF-8"
        )
    if re.match(r"\s*\[\s*[\[{]", sample):
        raise TickFileError(
            f"{name} must hold one JSON object a line, but holds a JSON array: convert it, for "
            "example with `jq -c '.[]'`"
        )


def _delimiter(lines: list[str]) -> str:
    """The candidate that cuts the lines most evenly, then into most fields."""

    def evenness(candidate: str) -> tuple[float, int]:
        widths = [len(fields_of(line, candidate) or ()) for line in lines]
        width, often = Counter(widths[1:] or widths).most_common(1)[0]
        if width < 2:
            return 0.0, 0
        # a decimal comma is not in the header
        return often / len(lines) + (widths[0] > 1), width

    best = max(DELIMITERS, key=evenness)
    return best if evenness(best)[1] else ","


def read_text(source: TickSource, dialect: Dialect, *, header: bool) -> RawTable:
    """All rows of the text; columns are named by the header, else 1, 2, 3, ...

    Raises:
        TickFileError: the file cannot be read.
    """
    names = column_names(dialect, header=header)
    text = source.text
    try:
        frame = pl.read_csv(
            text,
            has_header=False,
            skip_lines=dialect.skip + header,
            separator=dialect.delimiter,
            infer_schema=False,  # numbers are read by us, so that 1e5 and " 1.2" are numbers too
            schema=dict.fromkeys(names, pl.String),
        )
    except pl.exceptions.NoDataError:
        return RawTable(pl.DataFrame(schema=dict.fromkeys(names, pl.String)), np.zeros(0, np.int64))
    except (pl.exceptions.PolarsError, OSError):
        frame = None
    first = 1 + dialect.skip + header
    number = None if frame is None else _numbers(frame, text, dialect, first)
    if frame is None or number is None:
        return _by_line(source, dialect, names, first)
    if len(number) < len(frame):
        frame = frame[number - first]
    return _of_header(RawTable(frame, number), names, dialect, header=header)


def column_names(dialect: Dialect, *, header: bool) -> list[str]:
    """What the columns are called: as the header says, each once, or 1, 2, 3, ..."""
    rows = dialect.rows[1:] if header else dialect.rows
    widths = Counter(len(row) for row in rows)
    width = widths.most_common(1)[0][0] if widths else 0
    if not header:
        return [str(i + 1) for i in range(width)]
    names = [name.strip() for name in dialect.rows[0]]
    names += [""] * (width - len(names))
    seen: Counter[str] = Counter()
    out = []
    for at, name in enumerate(names):
        plain = name or UNNAMED.format(at + 1)
        seen[plain] += 1
        out.append(plain if seen[plain] == 1 else f"{plain} ({seen[plain]})")
    return out


def _of_header(table: RawTable, names: list[str], dialect: Dialect, *, header: bool) -> RawTable:
    """Without the columns that a delimiter at the end of each line makes.

    A row with a value there has more fields than the header, and which field is which cannot be
    told: 1,5 may be a number, and a first field without a name shifts the others.
    """
    named = len(dialect.rows[0])
    if not header or len(names) <= named:
        return table
    frame = table.frame
    wide = np.asarray(
        frame.select(pl.any_horizontal(pl.col(names[named:]).is_not_null())).to_series().to_numpy(),
        np.bool_,
    )
    frame = frame.drop(names[named:])
    if not wide.any():
        return RawTable(frame, table.number, table.broken)
    widths = [
        named + max(at for at, name in enumerate(names[named:], 1) if row[name] is not None)
        for row in table.frame.filter(pl.Series(wide)).iter_rows(named=True)
    ]
    broken = {
        int(at): f"it has {width} fields, but the header has {named}"
        for at, width in zip(table.number[wide].tolist(), widths, strict=True)
    }
    return RawTable(frame.filter(pl.Series(~wide)), table.number[~wide], {**table.broken, **broken})


def _numbers(
    frame: pl.DataFrame, text: bytes | Path, dialect: Dialect, first: int
) -> Int64s | None:
    """Numbers of the rows of ``frame``, empty lines left out; None: they are not of one width."""
    lines, delimiters, quotes = _counts(text, dialect.delimiter.encode())
    if lines - (first - 1) != len(frame):
        return None  # a quoted line break, or one that does not close
    number = np.arange(first, first + len(frame), dtype=np.int64)
    before = _beginning(text, first - 1).count(dialect.delimiter.encode())
    between = frame.width - 1
    empty = 0
    if between and frame.height and frame[frame.columns[0]].null_count():
        blank = frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
        empty = int(blank.sum())
    elif not between:
        blank = frame.to_series().is_null()
        empty = int(blank.sum())
    found = delimiters - before
    if quotes:
        if empty or not _is_even(text, dialect, first - 1, frame.width):
            return None
        return number
    if found == len(frame) * between:
        if not between and empty:
            return _without(number, blank)
        return number
    if found == (len(frame) - empty) * between:
        return _without(number, blank)
    return None


def _without(number: Int64s, blank: pl.Series) -> Int64s:
    return number[~np.asarray(blank.to_numpy(), np.bool_)]


def _counts(text: bytes | Path, delimiter: bytes) -> tuple[int, int, int]:
    """Lines, delimiters and quotes of a text."""
    lines = delimiters = quotes = 0
    last = b"\n"
    for block in _blocks(text):
        lines += block.count(b"\n")
        delimiters += block.count(delimiter)
        quotes += block.count(b'"')
        last = block[-1:]
    return lines + (last != b"\n"), delimiters, quotes


def _blocks(text: bytes | Path) -> Iterator[bytes]:
    if isinstance(text, Path):
        with text.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    else:
        for start in range(0, len(text), _BLOCK):
            yield text[start : start + _BLOCK]


def _beginning(text: bytes | Path, lines: int) -> bytes:
    """The first ``lines`` lines."""
    with text.open("rb") if isinstance(text, Path) else io.BytesIO(text) as file:
        return b"".join(file.readline() for _ in range(lines))


def _is_even(text: bytes | Path, dialect: Dialect, skip: int, width: int) -> bool:
    """Whether every row after ``skip`` lines of a text with quotes has ``width`` fields."""
    names = [str(i) for i in range(width)]
    try:
        rows = arrow_csv.open_csv(
            io.BytesIO(text) if isinstance(text, bytes) else str(text),
            read_options=arrow_csv.ReadOptions(
                column_names=names, skip_rows=skip, block_size=_BLOCK
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=dialect.delimiter),
            convert_options=arrow_csv.ConvertOptions(include_columns=names[:1]),
        )
        for _ in rows:
            pass
    except (ArrowInvalid, StopIteration):
        return False
    return True


def _by_line(source: TickSource, dialect: Dialect, names: list[str], first: int) -> RawTable:
    text = source.unpacked().removeprefix(_BOM).decode(errors="replace")
    lines = text.split("\n")
    columns: list[list[str | None]] = [[] for _ in names]
    number: list[int] = []
    broken: dict[int, str] = {}
    for at, line in enumerate(lines[first - 1 :], first):
        line = line.removesuffix("\r")
        if not line:
            continue
        fields = fields_of(line, dialect.delimiter)
        if fields is None:
            broken[at] = "a quote in it is not closed (a row must be one line)"
            continue
        if len(fields) < len(names) or any(fields[len(names) :]):
            plural = "" if len(fields) == 1 else "s"
            broken[at] = f"it has {len(fields)} field{plural}, the others {len(names)}"
            continue
        number.append(at)
        for column, value in zip(columns, fields, strict=False):
            column.append(value or None)
    frame = pl.DataFrame(dict(zip(names, columns, strict=True)), dict.fromkeys(names, pl.String))
    table = RawTable(frame, np.array(number, np.int64), broken)
    return _of_header(table, names, dialect, header=first > 1 + dialect.skip)


def fields_of(line: str, delimiter: str) -> tuple[str, ...] | None:
    """The fields of one line; None when a quote in it is not closed."""
    if '"' not in line:
        return tuple(line.split(delimiter))
    try:
        return tuple(next(csv.reader([line], delimiter=delimiter, strict=True)))
    except (csv.Error, StopIteration):
        return None
