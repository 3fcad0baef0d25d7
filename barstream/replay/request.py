"""What is to be replayed, and by which rules."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from barstream.config import Settings
from barstream.errors import BarstreamError
from barstream.log.selection import Selection
from barstream.market.schedule import AlwaysOpenIndex, ScheduleIndex, Series, SessionRow
from barstream.rules.series import Rules

_SUFFIX: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


class BadSuffix(BarstreamError):
    """The name of a replay becomes part of topic names: use another one."""


def checked_suffix(suffix: str) -> str:
    """``suffix``, if topics can be named by it.

    Raises:
        BadSuffix: they cannot.
    """
    if _SUFFIX.fullmatch(suffix) is None:
        raise BadSuffix(
            "a suffix must be 1 to 32 of a-z, 0-9, _ and -, the first a letter or digit; found "
            f"{suffix!r}"
        )
    return suffix


@dataclass(frozen=True, slots=True)
class Request:
    """One replay, the same for all its partitions; goes to other processes.

    Attributes:
        settings: those of a worker that would have made these bars.
        suffix: of the shadow topics.
        wanted: the series.
        from_us: bars from this minute on; None: from the first tick there is.
        to_us: bars that start before it; None: as far as production has come.
        recorded: whether published finals say when each bar was closed; otherwise closes are
            derived from ticks and heartbeats.
        sessions: the market schedule; None: markets never close.
        homes: partition of each series that was seen.
    """

    settings: Settings
    suffix: str
    wanted: Selection = Selection()
    from_us: int | None = None
    to_us: int | None = None
    recorded: bool = True
    sessions: tuple[SessionRow, ...] | None = None
    homes: dict[Series, int] = field(default_factory=dict)

    @property
    def rules(self) -> Rules:
        """What decides a bar."""
        settings = self.settings
        return Rules(
            settings.bars.grace_us,
            settings.bars.inactive_after,
            settings.heartbeats.feed_delay_us,
            settings.bars.late_policy,
        )

    @property
    def index(self) -> ScheduleIndex:
        """The schedule to judge by."""
        return AlwaysOpenIndex() if self.sessions is None else ScheduleIndex.build(self.sessions)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out by series or time: only then every record has its place."""
        return self.wanted.is_all_series and self.from_us is None and self.to_us is None


@dataclass(frozen=True, slots=True)
class Job:
    """One partition of a replay: ticks from ``begin`` to ``end`` (exclusive), None: all applied."""

    request: Request
    partition: int
    begin: int | None = None
    end: int | None = None
