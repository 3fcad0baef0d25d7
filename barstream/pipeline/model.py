"""Models: what the rows of a topic hold, and which columns make their key.

The parts of a key and their order are declared once: those of ours in `barstream.model.key`, which
makes the bytes as well, and those of a model of one's own with the model.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final, Literal

from barstream.model.bar_fields import BAR_FIELDS, FieldKind
from barstream.model.key import BAR_KEY, SERIES_KEY, KeyPart

Kind = Literal["text", "time", "date", "number", "flag"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, and what its values are."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Model:
    """The rows of a topic.

    Attributes:
        name: of the model.
        columns: what a row holds, after mapping: which fields of your own records these are is
            said in the settings, ``[ticks]``.
        key: names of the columns that make the key, in the order in which they stand in it.
        topic: the topic to use where the settings name none; None: the one by default.

    Raises:
        ValueError: there is no key, it names a column that is not there, or a name is there twice.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    topic: str | None = None

    def __post_init__(self) -> None:
        twice = [
            name for name, n in Counter(column.name for column in self.columns).items() if n > 1
        ]
        if twice:
            raise ValueError(f"{self.name} must have each column once, found twice: {_list(twice)}")
        if not self.key:
            raise ValueError(
                f"{self.name} must say which of its columns make the key, such as "
                '("broker", "symbol"); found none: rows without a key have no series'
            )
        names = {column.name for column in self.columns}
        if unknown := [name for name in self.key if name not in names]:
            raise ValueError(
                f"the key of {self.name} must be of its columns ({_list(names)}), found "
                f"{_list(unknown)}"
            )
        if len(set(self.key)) < len(self.key):
            raise ValueError(f"the key of {self.name} must name a column once, found {self.key}")

    def kind(self, column: str) -> Kind | None:
        """What the values of a column are; None: it has no such column."""
        return next((found.kind for found in self.columns if found.name == column), None)

    @property
    def key_parts(self) -> tuple[KeyPart, ...]:
        """Names and kinds of the key's parts in order, as ranges of keys are derived from them.

        Raises:
            ValueError: a part is neither text nor time, so its bytes do not sort as it does.
        """
        return tuple(KeyPart(name, self._range_kind(name)) for name in self.key)

    def _range_kind(self, name: str) -> Literal["text", "time"]:
        kind = self.kind(name)
        if kind not in ("text", "time"):
            raise ValueError(
                f"the parts of a key that is read by range must be text or time, found {name} of "
                f"{self.name}, a {kind}"
            )
        return kind


def _list(names: Any) -> str:
    return ", ".join(sorted(names))


#: One quote or trade.
Tick: Final = Model(
    "Tick",
    (
        Column("broker", "text"),
        Column("symbol", "text"),
        Column("time", "time"),
        Column("price", "number"),
        Column("size", "number"),
    ),
    key=SERIES_KEY.names,
)

#: One session of one series.
MarketSchedule: Final = Model(
    "MarketSchedule",
    (
        Column("broker", "text"),
        Column("symbol", "text"),
        Column("trading_date", "date"),
        Column("session", "number"),
        Column("open", "time"),
        Column("close", "time"),
    ),
    key=("broker", "symbol", "trading_date", "session"),
)

_KINDS: Final[dict[FieldKind, Kind]] = {
    FieldKind.TEXT: "text",
    FieldKind.BUCKET: "time",
    FieldKind.TIME: "time",
    FieldKind.DATE: "date",
    FieldKind.FLAG: "flag",
}
#: One bar of one series, of any period.
Rate: Final = Model(
    "Rate",
    tuple(Column(field.name, _KINDS.get(field.kind, "number")) for field in BAR_FIELDS),
    key=BAR_KEY.names,
)
