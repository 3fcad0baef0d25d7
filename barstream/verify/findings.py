"""What a verification finds, one finding a fact."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, get_args

from barstream.model.time import iso_date_from_days, iso_from_us, iso_micros_from_us

Kind = Literal["difference", "schedule", "superseded", "unproven"]
"""Wrong; explained by a newer schedule row; wrong once, and a later revision stands in its place;
not to be told from what the topics still hold."""

TICKS_SHOWN: Final = 20
#: Kept in full of one partition and kind; more are counted.
_KEPT: Final = 5_000
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_TIMES: Final = frozenset({"open_time", "close_time"})
_STARTS: Final = frozenset({"bucket_start"})


class ShownTick(NamedTuple):
    """A tick as it stands in the log."""

    offset: int
    time_us: int
    price: float
    size: float

    def to_json(self) -> dict[str, Any]:
        """Its fields by name."""
        return {
            "offset": self.offset,
            "time": iso_micros_from_us(self.time_us),
            "price": self.price,
            "size": self.size,
        }


@dataclass(slots=True)
class Finding:
    """One fact.

    Attributes:
        rule: which rule it is about, a word: ``field``, ``missing``, ``close``, ...
        bucket_us: of a bar; None where it is about a tick alone.
        offset: of a tick; None where it is about a bar.
        field: of the bar schema; None where the whole bar is meant.
        detail: a sentence: what was required, what was found.
        ticks: the first ticks of the bucket.
        ticks_total: how many there are.
        closed_by: what closed the bar, as far as it is known.
    """

    kind: Kind
    rule: str
    partition: int
    detail: str
    broker: str | None = None
    symbol: str | None = None
    timeframe: str = "1m"
    bucket_us: int | None = None
    offset: int | None = None
    field: str | None = None
    expected: Any = None
    published: Any = None
    ticks: tuple[ShownTick, ...] = ()
    ticks_total: int = 0
    closed_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        """One line of ``--json``."""
        return {
            "type": self.kind,
            "rule": self.rule,
            "partition": self.partition,
            "broker": self.broker,
            "symbol": self.symbol,
            "timeframe": self.timeframe,
            "bucket_start": None if self.bucket_us is None else iso_from_us(self.bucket_us),
            "offset": self.offset,
            "field": self.field,
            "expected": shown(self.field, self.expected),
            "published": shown(self.field, self.published),
            "detail": self.detail,
            "ticks": [tick.to_json() for tick in self.ticks],
            "ticks_total": self.ticks_total,
            "closed_by": self.closed_by,
        }


def shown(name: str | None, value: Any) -> Any:
    """A field's value as JSON has it: times and dates as text."""
    if value is None or name is None:
        return value
    if name in _TIMES:
        return iso_micros_from_us(value)
    if name in _STARTS:
        return iso_from_us(value)
    if name == "trading_date":
        return iso_date_from_days(value)
    return value


@dataclass(slots=True)
class Findings:
    """All findings of a partition; so many of a kind are kept, the rest is counted.

    Attributes:
        counts: by (kind, rule), all of them.
    """

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        """Note one more."""
        if self.number(finding.kind) < _KEPT:
            self.kept.append(finding)
        self.counts[finding.kind, finding.rule] += 1

    def number(self, kind: Kind) -> int:
        """How many there are of a kind."""
        return sum(count for (of, _), count in self.counts.items() if of == kind)

    def take(self, other: Findings) -> None:
        """Take those of another partition as well."""
        self.kept += other.kept
        self.counts += other.counts
