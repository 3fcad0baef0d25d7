"""What a partition remembers of its series, and what a new schedule changes of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from barstream.market.schedule import AlwaysOpenIndex, ScheduleIndex, SessionRow
from barstream.rules.series import PartitionState, Rules, SeriesState

MINUTE = 60_000_000
DAY = 1440 * MINUTE


def rows_of(symbol: str, hours: int = 1, days: int = 10) -> list[SessionRow]:
    return [
        SessionRow("B", symbol, day, 0, day * DAY, day * DAY + hours * 60 * MINUTE)
        for day in range(days)
    ]


class Watched(PartitionState):
    """Notes which series were looked up again."""

    def __init__(self, rules: Rules) -> None:
        self.rejoined: list[str] = []
        super().__init__(rules)

    def rejoin_schedule(self, state: SeriesState) -> None:
        self.rejoined.append(state.symbol)
        super().rejoin_schedule(state)


def state_with(index: ScheduleIndex, symbols: Sequence[str]) -> Watched:
    state = Watched(Rules())
    state.use_schedule(index)
    for symbol in symbols:
        state.add("B", symbol)
    state.rejoined.clear()
    return state


def hours_of(state: PartitionState, symbol: str) -> int | None:
    series = state.get("B", symbol)
    assert series is not None
    if series.schedule is None:
        return None
    session = next(iter(series.schedule.sessions_between(0, DAY)))
    return (session.close_us - session.open_us) // (60 * MINUTE)


def test_a_new_schedule_is_looked_up_for_the_series_it_changes_and_no_other() -> None:
    """10,000 series stay as they are when one row of one of them is loaded."""
    first = ScheduleIndex.build([*rows_of("X", 1), *rows_of("Y", 2), *rows_of("Z", 3)])
    state = state_with(first, ("X", "Y", "Z"))
    state.use_schedule(first.updated({("B", "Y"): rows_of("Y", 5), ("B", "Z"): rows_of("Z", 3)}))
    assert state.rejoined == ["Y"]
    assert [hours_of(state, symbol) for symbol in "XYZ"] == [1, 5, 3]


@pytest.mark.parametrize("versions", [(1, 2), (1, 7), (3, 1)])
def test_indexes_that_were_never_used_here_are_made_up_for(versions: tuple[int, int]) -> None:
    """The provider may swap several times between two chunks; the last `changed` is not all."""
    first = ScheduleIndex.build([*rows_of("X", 1), *rows_of("Y", 2), *rows_of("Z", 3)], versions[0])
    state = state_with(first, ("X", "Y", "Z"))
    between = first.updated({("B", "X"): rows_of("X", 4), ("B", "Y"): []})
    state.use_schedule(between.updated({("B", "Z"): rows_of("Z", 6)}, versions[1]))
    assert [hours_of(state, symbol) for symbol in "XYZ"] == [4, None, 6]


def test_a_series_that_gets_its_first_schedule_or_is_always_open_from_now_on_joins_it() -> None:
    state = state_with(ScheduleIndex(), ("X",))
    index = ScheduleIndex().updated({("B", "X"): rows_of("X", 2)})
    state.use_schedule(index)
    assert hours_of(state, "X") == 2
    state.use_schedule(AlwaysOpenIndex())
    assert hours_of(state, "X") == 24
