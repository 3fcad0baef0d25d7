"""What the core asks of the final bars of a partition, and what may happen to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from barstream.model.bar import Bar
from barstream.model.period import Period


class Finals(Protocol):
    """Final bars of every period by series and bucket, written ones and those still to be.

    Reading is a seek in a local store: no method waits for anything else.
    """

    def get(self, period: Period, broker: str, symbol: str, bucket_us: int) -> Bar | None:
        """The newest version of a final; None when there is none."""
        ...

    def between(
        self, period: Period, broker: str, symbol: str, from_us: int, to_us: int
    ) -> list[Bar]:
        """Finals with ``from_us <= bucket_start_us < to_us``, ascending."""
        ...

    def first(self, period: Period, broker: str, symbol: str) -> Bar | None:
        """The earliest final of a series."""
        ...

    def before(self, period: Period, broker: str, symbol: str, before_us: int) -> Bar | None:
        """The last final with ``bucket_start_us < before_us``."""
        ...

    def put(self, period: Period, bar: Bar) -> None:
        """A new final, or a revision of one: what is read from here on."""
        ...

    def retained_from_us(self, period: Period, broker: str, symbol: str) -> int | None:
        """Finals of the series that start before this were deleted; None: none were."""
        ...


@dataclass(frozen=True, slots=True)
class Change:
    """A final that was revised or, with ``old`` None, added after later ones were final.

    ``tick_offset`` is the offset of the late tick that brought a new one about.
    """

    old: Bar | None
    new: Bar
    tick_offset: int = -1

    @property
    def raised(self) -> int:
        """By how much the revision of a parent that is final rises."""
        return self.new.revision - self.old.revision if self.old else self.new.revision + 1
