"""Names that differ in case alone: said once for each series, and counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from barstream.codecs.ticks.series_names import Respelled
from barstream.errors import NameRuleChanged
from barstream.market.schedule import ScheduleIndex, Series
from barstream.market.universe import Universe
from barstream.metrics import Metrics
from barstream.model.key import NameRule

log = logging.getLogger(__name__)

#: A producer can make up names without end: what comes after so many lines is only counted.
_MOST_LINES: Final = 100
_SHOWN: Final = 3


def refuse_unreachable(universe: Universe, name_rule: NameRule) -> None:
    """Refuse to run where ticks could not reach series that are kept.

    Raises:
        NameRuleChanged: their case was kept before, and is folded now.
    """
    lost = [row.name for row in universe if name_rule.series(*row.name) != row.name]
    if lost:
        named = ", ".join(" ".join(name) for name in lost[:_SHOWN])
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        raise NameRuleChanged(
            f"ticks.fold_case must stay false, because series are kept whose names have lower case "
            f"({named}{more}) and folding would take their ticks from them: set it to false, or "
            "start anew under another app_id and topics.base"
        )


class Spellings:
    """Tells of series that were folded into one, and of those that may have been meant to be.

    Args:
        name_rule: how names are spelled.
        index: the schedule in force.
        metrics: numbers of this worker.
    """

    def __init__(
        self, name_rule: NameRule, index: Callable[[], ScheduleIndex], metrics: Metrics
    ) -> None:
        self._name_rule = name_rule
        self._index = index
        self._metrics = metrics
        self._told: set[Series] = set()
        self._respelled: list[Respelled] = []
        #: Names of the schedule by their upper case, and the index they are of.
        self._folded: tuple[ScheduleIndex, dict[Series, Series]] | None = None

    @property
    def respelled(self) -> Sequence[Respelled]:
        """The series of two spellings that were told of, the first found first."""
        return self._respelled

    def folded(self, found: Iterable[Respelled]) -> None:
        """Ticks of one series came in two spellings."""
        for each in found:
            self._metrics.series_respelled.inc()
            if len(self._told) < _MOST_LINES:
                self._told.add(each.series)
                self._respelled.append(each)
                log.warning(
                    "ticks in two spellings are one series: they are %s and %s, bars are of %s; "
                    "where they are two instruments, set ticks.fold_case = false",
                    " ".join(map(repr, each.first)),
                    " ".join(map(repr, each.other)),
                    " ".join(each.series),
                )

    def unscheduled(self, found: Iterable[Series]) -> None:
        """Ticks came of series that have no schedule."""
        if self._name_rule.fold_case:
            return
        for series in found:
            if series in self._told or len(self._told) >= _MOST_LINES:
                continue
            near = self._scheduled().get((series[0].upper(), series[1].upper()))
            if near is not None:
                self._told.add(series)
                log.warning(
                    "ticks of %s are unscheduled, and %s is scheduled: with ticks.fold_case = "
                    "false these are two series; spell the schedule as the ticks are spelled",
                    " ".join(map(repr, series)),
                    " ".join(map(repr, near)),
                )

    def _scheduled(self) -> dict[Series, Series]:
        index = self._index()
        if self._folded is None or self._folded[0] is not index:
            names = {(b.upper(), s.upper()): (b, s) for b, s in index.series()}
            self._folded = index, names
        return self._folded[1]
