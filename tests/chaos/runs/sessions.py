"""Sessions for the series of a run: one, two with a pause, two trading dates, or none at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from barstream.market.session import SessionRow
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US

#: So many of the thinnest series stay without a session.
UNSCHEDULED: Final = 2
#: Open and close in microseconds after the minute in which the feed begins: always open there;
#: shut from within one minute to within the next; three that touch or pause for two minutes.
_CUTS: Final = (
    ((-180 * MINUTE_US, 180 * MINUTE_US),),
    (
        (-180 * MINUTE_US, MINUTE_US + 30 * SECOND_US),
        (2 * MINUTE_US + 10 * SECOND_US, 180 * MINUTE_US),
    ),
    (
        (-180 * MINUTE_US, 2 * MINUTE_US),
        (2 * MINUTE_US, 4 * MINUTE_US),
        (6 * MINUTE_US + 1, 180 * MINUTE_US),
    ),
)


def sessions_of(names: Sequence[tuple[str, str]], begin_us: int) -> list[SessionRow]:
    """Rows for ``names``, cut where the feed passes: ``begin_us`` is its first event time."""
    rows: list[SessionRow] = []
    day, minute_us = begin_us // DAY_US, begin_us // MINUTE_US * MINUTE_US
    for number, (broker, symbol) in enumerate(names[: len(names) - UNSCHEDULED]):
        numbers: Counter[int] = Counter()
        for at, (open_us, close_us) in enumerate(_CUTS[number % len(_CUTS)]):
            # of some series all but the first session count for the next trading date
            date = day + (1 if at and number % 2 else 0)
            rows.append(
                SessionRow(
                    broker, symbol, date, numbers[date], minute_us + open_us, minute_us + close_us
                )
            )
            numbers[date] += 1
    return rows
