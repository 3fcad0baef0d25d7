"""Which series and which time are asked for, judged by a record's key before it is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from barstream.model.key import FOLDED, NameRule, bar_key, series_key
from barstream.model.time import LAST_MINUTE_US, ceil_minute

_STAMP_BYTES = len("2013-01-01T22:00:00Z")


@dataclass(frozen=True, slots=True)
class Selection:
    """Series and a span of time; everything by default.

    Attributes:
        broker: in its normalised spelling; None: all.
        symbol: likewise; only with a broker.
        from_us: buckets that start at or after it; None: from the first.
        to_us: buckets that start before it; None: to the last.
    """

    broker: str | None = None
    symbol: str | None = None
    from_us: int | None = None
    to_us: int | None = None

    @classmethod
    def of(
        cls,
        broker: str | None = None,
        symbol: str | None = None,
        from_us: int | None = None,
        to_us: int | None = None,
        *,
        name_rule: NameRule = FOLDED,
    ) -> Selection:
        """A selection by names as they are given; ``name_rule`` spells them.

        Raises:
            ValueError: a symbol without a broker, or a name that cannot be one.
        """
        if broker is None and symbol is not None:
            raise ValueError("a symbol is one of a broker: name the broker as well")
        return cls(
            None if broker is None else name_rule.normalise(broker),
            None if symbol is None else name_rule.normalise(symbol),
            from_us,
            to_us,
        )

    @property
    def is_all_series(self) -> bool:
        """Whether no series is left out."""
        return self.broker is None

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out, neither by series nor by time."""
        return self.is_all_series and self.from_us is None and self.to_us is None

    def has_series(self, broker: str, symbol: str) -> bool:
        """Whether a series, by its normalised names, is asked for."""
        return self.broker in (None, broker) and self.symbol in (None, symbol)

    def has_time(self, bucket_us: int) -> bool:
        """Whether a bucket that starts then is asked for."""
        return (self.from_us is None or bucket_us >= self.from_us) and (
            self.to_us is None or bucket_us < self.to_us
        )

    @property
    def prefix(self) -> bytes:
        """What keys of these series begin with; empty: anything."""
        if self.broker is None:
            return b""
        if self.symbol is None:
            return self.broker.encode() + b"\0"
        return series_key(self.broker, self.symbol) + b"\0"

    def positions(self, keys: list[bytes | None]) -> list[int]:
        """Where in ``keys`` of bars or heartbeats those asked for stand."""
        prefix, low, high = self.prefix, self.stamp(self.from_us), self.stamp(self.to_us)
        if not prefix and low is None and high is None:
            return [at for at, key in enumerate(keys) if key is not None]
        low, high = low or b"", high or b"\xff"
        # fixed width, so the text of a time sorts as the time does
        return [
            at
            for at, key in enumerate(keys)
            if key is not None and key.startswith(prefix) and low <= key[-_STAMP_BYTES:] < high
        ]

    @staticmethod
    def stamp(bound_us: int | None) -> bytes | None:
        """The time as the end of a key has it, the next whole minute; None of None."""
        if bound_us is None:
            return None
        return bar_key("", "", min(max(0, ceil_minute(bound_us)), LAST_MINUTE_US))[-_STAMP_BYTES:]
