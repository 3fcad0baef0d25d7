"""A replay bar by bar against what is published; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, Final, Literal

from barstream.codecs.topics.bar import decode_bar
from barstream.codecs.topics.bar_json import bar_to_json
from barstream.model.bar import Bar
from barstream.model.bar_fields import BAR_FIELDS, EXACT_FIELDS
from barstream.model.key import BAR_KEY, split_bar_key
from barstream.model.period import Period
from barstream.model.time import iso_from_us
from barstream.replay.scope import Scope

Kind = Literal["different", "only_published", "only_replayed"]

#: What two versions of a bar may differ in: not the key, nor how often it came again.
_content_of: Final = attrgetter(
    *(field.attribute for field in BAR_FIELDS if field.name not in (*BAR_KEY.names, "revision")),
    *(field.attribute for field in EXACT_FIELDS),
)
#: What bars of a version that did not add it up are without.
_OF_TURNOVER: Final = frozenset({"turnover", "vwap", "turnover_exact"})


@dataclass(frozen=True, slots=True)
class BarDifference:
    """One bar that is not the same on both sides; absent ones are None.

    Attributes:
        partly: it begins before the replay, so published finals went into it.
    """

    period: Period
    partition: int
    key: bytes
    published: Bar | None
    replayed: Bar | None
    partly: bool = False

    @property
    def kind(self) -> Kind:
        """Where it is."""
        if self.replayed is None:
            return "only_published"
        return "only_replayed" if self.published is None else "different"

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """Fields that differ, published and replayed value, as in JSON; empty unless both are."""
        if self.published is None or self.replayed is None:
            return {}
        old, new = bar_to_json(self.published), bar_to_json(self.replayed)
        found = {name: (old[name], new[name]) for name in old if old[name] != new[name]}
        for field in EXACT_FIELDS:
            was = getattr(self.published, field.attribute)
            units = getattr(self.replayed, field.attribute)
            if was != units:
                found[field.name] = was, units
        return found

    @property
    def is_close_alone(self) -> bool:
        """Whether it has the same values, and only the place where it was closed is another."""
        return self.changed.keys() == {"close_offset"}

    @property
    def is_turnover_alone(self) -> bool:
        """Whether it has the same values, and a turnover where a version before made none."""
        if self.published is None or self.published.turnover is not None:
            return False  # under another grace nearly every bar differs, and is asked this
        changed = self.changed
        return bool(changed) and changed.keys() <= _OF_TURNOVER

    def to_json(self) -> dict[str, Any]:
        """One object, ready to be written."""
        broker, symbol, bucket_us = split_bar_key(self.key)
        return {
            "type": "difference",
            "kind": self.kind,
            "timeframe": self.period.timeframe,
            "broker": broker,
            "symbol": symbol,
            "bucket_start": iso_from_us(bucket_us),
            "partition": self.partition,
            "partly_replayed": self.partly,
            "fields": {name: list(pair) for name, pair in self.changed.items()},
            "published": None if self.published is None else bar_to_json(self.published),
            "replayed": None if self.replayed is None else bar_to_json(self.replayed),
        }


@dataclass(slots=True)
class ComparisonCounts:
    """How many bars of one period compare how.

    Attributes:
        equal: the same bytes, or the same but for a higher revision of the published one: it was
            mended by a switch-over.
        mended: those of the equal ones.
        partly: of the different ones, those that begin before the replay.
        close_alone: of the different ones, those with the same values, closed elsewhere.
        turnover_alone: of the different ones, those with the same values, and a turnover where a
            version before made none.
        open: published, and not over yet where the replay ended, or changed since by late ticks
            after its end: not compared.
    """

    equal: int = 0
    different: int = 0
    only_published: int = 0
    only_replayed: int = 0
    mended: int = 0
    partly: int = 0
    close_alone: int = 0
    turnover_alone: int = 0
    open: int = 0

    @property
    def differences(self) -> int:
        """Bars that are not the same on both sides."""
        return self.different + self.only_published + self.only_replayed

    def add(self, other: ComparisonCounts) -> None:
        """Count what another partition came to as well."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


def compare(
    period: Period,
    scope: Scope,
    published: Mapping[bytes, bytes],
    replayed: Mapping[bytes, bytes],
    tally: ComparisonCounts,
) -> Iterator[BarDifference]:
    """The differences of one partition, by key.

    Args:
        period: of the bars.
        scope: what the replay covers.
        published: newest value by key, without those that were withdrawn; one that is no bar
            stands for none.
        replayed: likewise, of the shadow topic.
        tally: counts everything.
    """
    partition = scope.derived.partition
    for key in sorted(published.keys() | replayed.keys()):
        old, new = published.get(key), replayed.get(key)
        if old == new:
            tally.equal += 1
            continue
        try:
            broker, symbol, bucket_us = split_bar_key(key)
        except ValueError:
            continue  # no bar of ours; a worker refuses to start on it
        name = broker, symbol
        if new is None:
            place = scope.place(period, name, bucket_us)
            tally.open += place == "open"
            if place != "inside":
                continue
        found = BarDifference(
            period,
            partition,
            key,
            bar_or_none(old),
            bar_or_none(new),
            scope.is_partly(period, name, bucket_us),
        )
        if _is_mended(found):
            tally.equal += 1
            tally.mended += 1
            continue
        if _knows_more(found, scope.derived.end):
            tally.open += 1
            continue
        setattr(tally, found.kind, getattr(tally, found.kind) + 1)
        tally.partly += found.partly
        tally.close_alone += found.is_close_alone
        tally.turnover_alone += found.is_turnover_alone
        yield found


def bar_or_none(value: bytes | None) -> Bar | None:
    """The bar of a record; what is none stands for no bar, as nobody can read it."""
    if value is None:
        return None
    try:
        return decode_bar(value)
    except ValueError:
        return None


def _knows_more(found: BarDifference, end: int) -> bool:
    """Whether late ticks from offset ``end`` on, where the replay ended, are in what is published.

    They made the bar, or raised its revision.
    """
    old, new = found.published, found.replayed
    if old is None or (old.close_offset or 0) <= end:
        return False
    return new is None or old.revision > new.revision


def _is_mended(found: BarDifference) -> bool:
    old, new = found.published, found.replayed
    if old is None or new is None or old.revision <= new.revision:
        return False
    return bool(_content_of(old) == _content_of(new))
