"""Market schedules from CSV and Parquet files, accepted whole or refused whole."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

from barstream.codecs.topics.session import row_from_fields
from barstream.codecs.topics.session_schemas import TOLERANCE
from barstream.errors import BarstreamError
from barstream.market.schedule import Series, SessionRow, find_conflicts
from barstream.model.key import FOLDED, NameRule
from barstream.model.time import datetime_from_iso

REQUIRED: Final = ("broker", "symbol", "trading_date", "open", "close")
MOST_SHOWN: Final = 100

Numbered = tuple[int, dict[str, Any]]
"""Line (CSV, the header is line 1) or row (Parquet, from 1), and the fields found there."""


class ScheduleFileError(BarstreamError):
    """The file holds rows that cannot be a schedule, so none was loaded: mend the rows named.

    Attributes:
        problems: line and reason of each bad row.
    """

    def __init__(self, path: Path, problems: list[tuple[int, str]]) -> None:
        self.problems = sorted(problems)
        shown = [f"  line {line}: {reason}" for line, reason in self.problems[:MOST_SHOWN]]
        if len(self.problems) > MOST_SHOWN:
            shown.append(f"  ... and {len(self.problems) - MOST_SHOWN} more")
        super().__init__(
            f"{path} is refused as a whole, nothing was loaded; {len(self.problems):,} bad "
            f"{'row' if len(self.problems) == 1 else 'rows'}:\n" + "\n".join(shown)
        )


def read_schedule_file(
    path: Path,
    zone: tzinfo = UTC,
    name_rule: NameRule = FOLDED,
    *,
    close_tolerance_us: int = 0,
) -> list[SessionRow]:
    """The rows of a CSV file, or of a Parquet file when its name ends so.

    Columns ``broker, symbol, trading_date, open, close`` and optionally ``session`` and
    ``close_tolerance_s``; sessions without a number are numbered from 0 in order of opening within
    their trading date.

    Args:
        path: the file.
        zone: of times that name none.
        name_rule: how names are spelled.
        close_tolerance_us: of rows that say none.

    Raises:
        ScheduleFileError: rows or the header are bad; it names every one of them.
        BarstreamError: the file cannot be read.
    """
    parsed: list[tuple[int, SessionRow]] = []
    unnumbered: set[int] = set()
    problems: list[tuple[int, str]] = []
    for line, fields in _numbered_rows(path):
        try:
            row = _row(fields, zone, name_rule)
            if fields.get(TOLERANCE) is None:
                row = replace(row, close_tolerance_us=close_tolerance_us)
        except (ValueError, OverflowError) as error:
            problems.append((line, str(error)))
            continue
        parsed.append((line, row))
        if fields.get("session") is None:
            unnumbered.add(line)
    by_series: dict[Series, list[tuple[int, SessionRow]]] = {}
    for line, row in parsed:
        by_series.setdefault((row.broker, row.symbol), []).append((line, row))
    rows: list[SessionRow] = []
    for lined in by_series.values():
        numbered, mixed = _number_sessions(lined, unnumbered)
        problems += mixed
        line_of = {id(row): line for line, row in numbered}
        for conflict in find_conflicts([row for _, row in numbered]) if not mixed else ():
            lines = [line_of[id(row)] for row in conflict.rows]
            named = " and ".join(str(line) for line in lines)
            problems.append((lines[-1], f"{conflict} (lines {named})"))
        rows += [row for _, row in numbered]
    if not rows and not problems:
        problems.append((1, "at least one session is required, the file has none"))
    if problems:
        raise ScheduleFileError(path, problems)
    return rows


def _numbered_rows(path: Path) -> Iterator[Numbered]:
    try:
        path.open("rb").close()  # polars words in its own way that there is no such file
        yield from _parquet_rows(path) if path.suffix.lower() == ".parquet" else _csv_rows(path)
    except UnicodeDecodeError as error:
        raise BarstreamError(
            f"{path} must be text in UTF-8, but byte {error.start:,} is not: save it as UTF-8"
        ) from error
    except OSError as error:
        raise BarstreamError(
            f"{path} must be a file that can be read: {error.strerror or error}"
        ) from error
    except csv.Error as error:
        raise BarstreamError(f"{path} cannot be cut into rows and columns: {error}") from error


def _csv_rows(path: Path) -> Iterator[Numbered]:
    # The csv module and not polars: only it knows on which line a row stands.
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        # a spreadsheet writes semicolons where the comma is the decimal mark
        reader = csv.reader(file, delimiter=max(",;\t|", key=first.count))
        columns = _checked_columns(path, next(reader, []))
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if len(values) != len(columns):
                reason = f"{len(columns)} values are required, found {len(values)}"
                yield reader.line_num, {"": reason}
                continue
            stripped = (value.strip() or None for value in values)
            yield reader.line_num, dict(zip(columns, stripped, strict=True))


def _parquet_rows(path: Path) -> Iterator[Numbered]:
    import polars as pl

    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise BarstreamError(
            f"{path} must be Parquet by its name and cannot be read as such, so it is damaged or "
            "something else: get it again"
        ) from error
    columns = _checked_columns(path, frame.columns)
    for number, values in enumerate(frame.iter_rows(), start=1):
        yield number, dict(zip(columns, values, strict=True))


def _checked_columns(path: Path, header: list[str]) -> list[str]:
    columns = [name.strip().lower() for name in header]
    if missing := [name for name in REQUIRED if name not in columns]:
        reason = (
            f"columns {', '.join(REQUIRED)} are required (session and {TOLERANCE} are optional), "
            f"missing: {', '.join(missing)}; found: {', '.join(columns) or 'none'}"
        )
        raise ScheduleFileError(path, [(1, reason)])
    if repeated := [name for name in dict.fromkeys(columns) if name and columns.count(name) > 1]:
        reason = f"each column must be there once, but found several of {', '.join(repeated)}"
        raise ScheduleFileError(path, [(1, reason)])
    return columns


def _row(fields: Mapping[str, Any], zone: tzinfo, name_rule: NameRule) -> SessionRow:
    if "" in fields and len(fields) == 1:
        raise ValueError(fields[""])
    given = {
        **fields,
        "open": _in_zone(fields["open"], zone),
        "close": _in_zone(fields["close"], zone),
    }
    if given.get("session") is None:
        given["session"] = 0
    return row_from_fields(given, name_rule)


def _in_zone(value: Any, zone: tzinfo) -> Any:
    if isinstance(value, str):
        value = datetime_from_iso(value)
    if not isinstance(value, datetime) or value.tzinfo is not None:
        return value
    local = value.replace(tzinfo=zone)
    if local.utcoffset() != local.replace(fold=1).utcoffset():
        raise ValueError(
            f"{value} is skipped or comes twice in {zone}, where the clocks change: write it "
            "with its offset from UTC"
        )
    return local


def _number_sessions(
    lined: list[tuple[int, SessionRow]], unnumbered: set[int]
) -> tuple[list[tuple[int, SessionRow]], list[tuple[int, str]]]:
    by_day: dict[int, list[tuple[int, SessionRow]]] = {}
    for line, row in lined:
        by_day.setdefault(row.trading_date, []).append((line, row))
    numbered: list[tuple[int, SessionRow]] = []
    problems: list[tuple[int, str]] = []
    for day in by_day.values():
        without = [line for line, _ in day if line in unnumbered]
        if not without:
            numbered += day
        elif len(without) < len(day):
            problems += [
                (line, "session is missing while others of the trading date are numbered")
                for line in without
            ]
        else:
            ordered = sorted(day, key=lambda each: each[1].open_us)
            numbered += [
                (line, replace(row, session=number)) for number, (line, row) in enumerate(ordered)
            ]
    return numbered, problems
