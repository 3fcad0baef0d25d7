"""From the parts of a key and a span of time to what a source is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from barstream.model.bar_request import EARLIEST_US, LATEST_US, BarRequest
from barstream.model.key import BAR_KEY, KeyLayout, KeyPart, KeyValue
from barstream.model.period import Period
from barstream.pipeline import Model

_SPAN: Final = {name: KeyLayout((KeyPart(name, "time"),)) for name in ("start", "end")}


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of the bars of one period.

    Args:
        model: declares the parts of the key and their order.
        period: of the bars.

    Raises:
        TypeError: the period is none.
        ValueError: what the model declares is not a bar.
    """

    model: Model
    period: Period

    def __post_init__(self) -> None:
        if not isinstance(self.period, Period):
            raise TypeError(
                f"the period must be such as Period.minutes(5) or Period.parse('5m'), found "
                f"{self.period!r}"
            )
        if self.layout != BAR_KEY:
            wanted = ", ".join(BAR_KEY.names)
            found = ", ".join(self.model.key)
            raise ValueError(
                f"bars are kept by ({wanted}), found {self.model.name} with the key ({found}); "
                "read Rate"
            )

    @property
    def layout(self) -> KeyLayout:
        """Of the model's key."""
        return KeyLayout(self.model.key_parts)

    def request(
        self,
        prefix: Sequence[KeyValue],
        start: KeyValue | None = None,
        end: KeyValue | None = None,
        *,
        descending: bool = False,
    ) -> BarRequest:
        """What to ask for: a time in a key and ``start`` mean the bucket that holds them.

        Raises:
            TypeError: a part or a time is None or of the wrong kind.
            ValueError: too many parts, no time, ``start`` not before ``end``, or a span besides
                a whole key.
        """
        values = dict(zip(self.model.key, self.layout.read(prefix, self._floor), strict=False))
        bucket_us = values.get("bucket_start")
        if bucket_us is not None:
            if start is not None or end is not None:
                raise ValueError(
                    f"{list(prefix)!r} is one bucket: leave start and end out, or the time"
                )
            from_us = int(bucket_us)
            if not EARLIEST_US <= from_us < LATEST_US:
                raise ValueError(f"a bucket is of the years 1000 to 9999, found {list(prefix)!r}")
            # a bucket that is anchored to a session is found by any time inside it
            to_us = from_us + 1
        else:
            from_us, to_us = self._span(start, end)
        return BarRequest(
            self.period,
            _text(values.get("broker")),
            _text(values.get("symbol")),
            from_us,
            to_us,
            descending=descending,
        )

    def bucket(self, parts: Sequence[KeyValue]) -> BarRequest:
        """As `request` of one bucket.

        Raises:
            TypeError: as `request`.
            ValueError: as `request`, or a part of the key is missing.
        """
        self.layout.key(parts, self._floor)
        return self.request(parts)

    def _span(self, start: KeyValue | None, end: KeyValue | None) -> tuple[int, int]:
        from_us = EARLIEST_US if start is None else _time("start", start)
        to_us = LATEST_US if end is None else _time("end", end)
        if from_us >= to_us:
            raise ValueError(
                f"start must be before end, which is exclusive; found start={start!r} end={end!r}"
            )
        return from_us, to_us

    def _floor(self, ts_us: int) -> int:
        """Start of the bucket, where the calendar alone decides; else whoever is asked floors."""
        return self.period.floor(ts_us) if self.period.anchor == "utc" else ts_us


def _time(name: str, value: KeyValue) -> int:
    ts_us = int(_SPAN[name].read([value])[0])
    return min(max(ts_us, EARLIEST_US), LATEST_US)


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)
