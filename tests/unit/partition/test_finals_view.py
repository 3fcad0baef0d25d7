"""What is final is read at once; what is committed is read from disk; a damaged parent is found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from barstream.market.schedule import AlwaysOpenIndex
from barstream.metrics import Metrics
from barstream.model.bar import Bar
from barstream.model.period import DAY, MINUTE, Period
from barstream.partition.finals_view import FinalsView
from barstream.rules.rollup_fold import fold
from barstream.rules.series import PartitionState, Rules
from barstream.runtime.flush import bar_rows
from barstream.runtime.rollup_audit import RollUpAudit
from barstream.store.finals import FinalsPartition
from tests.sample_bar import SAMPLE
from tests.unit.store.test_finals import Store

M = 60_000_000
FIVE = Period.minutes(5)


@pytest.fixture
def book(tmp_path: Path) -> FinalsView:
    periods = (MINUTE, FIVE, DAY)
    return FinalsView(
        {period: FinalsPartition(Store(tmp_path / str(period)), 0) for period in periods}
    )


def bar(minute: int, price: float = 1.0, symbol: str = "X", revision: int = 0) -> Bar:
    at = minute * M
    return SAMPLE.replace(
        symbol=symbol,
        bucket_start_us=at,
        trading_date=at // (1440 * M),
        open=price,
        high=price + 1,
        low=price - 1,
        close=price,
        volume=0.1,
        tick_count=1,
        open_time_us=at,
        close_time_us=at + 1,
        revision=revision,
        first_offset=minute,
        last_offset=minute,
        close_offset=minute + 1,
    )


def commit(book: FinalsView, period: Period, bars: Sequence[Bar]) -> None:
    store = cast("FinalsPartition", book.stores[period])
    rows = [(row.key, row.value) for row in bar_rows(bars)]
    store.write([(key, value) for key, value in rows if key is not None], (store.offset() or 0) + 1)
    book.committed(period, bars)


def test_a_final_is_read_before_and_after_it_is_committed(book: FinalsView) -> None:
    # what closes later in the same flush rests on it
    bars = [bar(minute) for minute in range(40)]
    for one in bars:
        book.put(MINUTE, one)
    assert book.between(MINUTE, "B", "X", 3 * M, 30 * M) == bars[3:30]
    assert book.uncommitted(MINUTE, "B", "X") == bars
    commit(book, MINUTE, bars[:20])
    assert book.between(MINUTE, "B", "X", 3 * M, 30 * M) == bars[3:30]
    assert book.uncommitted(MINUTE, "B", "X") == bars[20:]
    assert book.get(MINUTE, "B", "X", 7 * M) == bars[7]
    assert book.get(MINUTE, "B", "X", 27 * M) == bars[27]
    assert book.before(MINUTE, "B", "X", 25 * M) == bars[24]
    assert book.before(MINUTE, "B", "X", 20 * M) == bars[19]
    assert book.before(MINUTE, "B", "X", 1 << 60) == bars[39]
    assert book.before(MINUTE, "B", "X", 0) is None


def test_series_do_not_run_into_each_other(book: FinalsView) -> None:
    # a name that begins like another must not be read with it
    commit(book, MINUTE, [bar(1, symbol="X"), bar(1, symbol="X2")])
    assert [b.symbol for b in book.between(MINUTE, "B", "X", 0, 9 * M)] == ["X"]
    assert book.before(MINUTE, "B", "X2", M) is None


def test_a_revision_that_came_during_the_commit_stays(book: FinalsView) -> None:
    # the flush under way has the version before it
    first, second = bar(1), bar(1, 2.0, revision=1)
    book.put(MINUTE, first)
    book.put(MINUTE, second)
    commit(book, MINUTE, [first])
    assert book.get(MINUTE, "B", "X", M) == second
    assert book.between(MINUTE, "B", "X", 0, 9 * M) == [second]


def test_many_rows_read_in_columns_are_those_read_one_by_one(book: FinalsView) -> None:
    # whatever has no ticks, or an exact volume, comes back as it was
    bars = [
        bar(m).replace(volume_units=3 if m % 3 == 0 else None, synthetic=m % 2 == 0,
                open_time_us=None if m % 2 == 0 else m)
        for m in range(50)
    ]  # fmt: skip
    commit(book, MINUTE, bars)
    assert book.between(MINUTE, "B", "X", 0, 99 * M) == bars
    rows = book.rows(MINUTE, b"B\0X\0", b"B\0X\1", 20, descending=True)
    assert [b for _, b in rows] == bars[:-21:-1]


def audited(book: FinalsView) -> tuple[RollUpAudit, Metrics]:
    state = PartitionState(Rules())
    state.use_schedule(AlwaysOpenIndex())
    state.add("B", "X")
    metrics = Metrics()
    return RollUpAudit(state, book, metrics), metrics


def failures(metrics: Metrics, timeframe: str) -> float | None:
    return metrics.registry.get_sample_value(
        "barstream_invariant_failures_total", {"timeframe": timeframe}
    )


@pytest.mark.parametrize("period", [FIVE, DAY])
def test_a_parent_that_is_not_its_children_is_counted(book: FinalsView, period: Period) -> None:
    # a damaged row on disk must not go unnoticed
    children = [bar(minute, 1.0 + minute) for minute in range(5)]
    parent = fold(children, 0)
    commit(book, MINUTE, children)
    commit(book, period, [parent])
    audit, metrics = audited(book)
    assert audit.check(period, parent) is True
    commit(book, MINUTE, [children[2].replace(high=99.0)])
    assert audit.check(period, parent) is False
    assert failures(metrics, period.timeframe) == 1
    assert metrics.registry.get_sample_value("barstream_invariant_checks_total") == 2


def test_children_that_came_after_their_parent_raise_its_revision(book: FinalsView) -> None:
    # that is no difference; a parent that missed the revision of a child is one
    children = [bar(minute) for minute in range(5)]
    commit(book, MINUTE, children)
    commit(book, FIVE, [fold(children, 0).replace(revision=2)])
    audit, metrics = audited(book)
    assert audit.check(FIVE, fold(children, 0)) is True
    commit(book, MINUTE, [children[1].replace(revision=3)])
    assert audit.check(FIVE, fold(children, 0)) is False
    assert failures(metrics, "5m") == 1
