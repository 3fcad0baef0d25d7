"""How the ticks stand in a file: which column is what, and how its values are written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

from barstream.errors import BarstreamError

FIELDS: Final = ("time", "price", "bid", "ask", "size", "broker", "symbol")


class TickFileError(BarstreamError):
    """The file cannot be loaded as it was described: mend the options the message names."""


@dataclass(frozen=True, slots=True)
class FileLayout:
    """How a file is to be read.

    Raises:
        TickFileError: the mapping lacks a time or a price, or names the same thing twice.
    """

    mapping: Mapping[str, str]
    """What (time, price, bid, ask, size, broker, symbol) to column; ``A+B`` joins two."""
    broker: str | None = None
    symbol: str | None = None
    """Constants, for files that do not carry them."""
    timezone: str | None = None
    time_format: str | None = None
    header: bool = True
    columns: tuple[str, ...] = field(default=())
    """Names of the columns of a file without header; by default 1, 2, 3, ..."""
    delimiter: str = ","
    skip_bad: bool = False
    decimal: str = "."
    thousands: str | None = None
    scale: int = 0
    """Decimal places of prices that are written as whole numbers."""
    no_price: tuple[float, ...] = ()
    """Values that say there is no price."""
    carry: bool = False
    """A quote with one side takes the other side from the quote before it of its series."""
    keep: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Column and values: rows with other values are no ticks and are set aside."""
    id_column: str | None = None
    """What tells rows of a series apart: a row whose value was there before is set aside."""
    date: str | None = None
    """YYYYMMDD, for files whose times are times of day."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.mapping) - set(FIELDS))
        if unknown:
            raise TickFileError(f"--map takes {', '.join(FIELDS)}; found {', '.join(unknown)}")
        if "time" not in self.mapping:
            raise TickFileError("the event time is required: --map time=COLUMN")
        quoted = "bid" in self.mapping and "ask" in self.mapping
        if not quoted and "price" not in self.mapping:
            raise TickFileError(
                "a price is required: --map price=COLUMN, or --map bid=COLUMN --map ask=COLUMN"
            )
        if ("bid" in self.mapping) != ("ask" in self.mapping):
            raise TickFileError(
                "bid and ask must be mapped together: --map bid=COLUMN --map ask=COLUMN; for one "
                "side alone give --map price=COLUMN"
            )
        for name, constant in (("broker", self.broker), ("symbol", self.symbol)):
            if constant is None and name not in self.mapping:
                raise TickFileError(
                    f"the {name} is required: --{name} NAME, or --map {name}=COLUMN"
                )
            if constant is not None and name in self.mapping:
                raise TickFileError(f"give either --{name} or --map {name}=..., not both")
        self._check_values()

    def _check_values(self) -> None:
        if self.date is not None and self.time_format in ("s", "ms", "us", "ns"):
            raise TickFileError(
                f"--date is for times of day, and --time-format {self.time_format} for numbers "
                "since 1970: give one of them"
            )
        for option, mark in (("decimal", self.decimal), ("thousands", self.thousands)):
            if mark is not None and (len(mark) != 1 or mark.isalnum() or mark in '+-"\r\n'):
                raise TickFileError(
                    f"--{option} must be one character that is no digit, letter or sign, but "
                    f"found {mark!r}"
                )
        if self.decimal == self.thousands:
            raise TickFileError(
                f"--decimal and --thousands must differ, found {self.decimal!r} for both"
            )

    def told(self) -> dict[str, Any]:
        """What identifies a load; a setting that came later counts only where it is used."""
        later = fields(self)[_FIRST_FIELDS:]
        unused = {each.name for each in later if getattr(self, each.name) == each.default}
        return {name: value for name, value in asdict(self).items() if name not in unused}


#: Fields that positions of loads have always been named by: mapping to skip_bad.
_FIRST_FIELDS: Final = 9
