"""What the series list says of prices, as a worker's engine and local stores have them."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex, SessionRow
from barstream.model.bar import Bar
from barstream.model.period import MINUTE, Period
from barstream.model.time import DAY_US, MINUTE_US
from barstream.partition.machine import PartitionMachine
from barstream.rules.series import Rules
from barstream.serve.reads import NotHereError, Reference, SeriesInfo
from barstream.serve.series_list import decimals_of

from .engine_stub import StubOwned, StubPartitions, feed, stub_partitions, stub_reads

GRACE_US = 5_000_000
DAY = 20_000
MIDNIGHT_US = DAY * DAY_US


class Worker:
    """A worker that holds one partition, on the UTC calendar or on the sessions given."""

    def __init__(
        self,
        *sessions: SessionRow,
        late_policy: Literal["reject", "revise"] = "reject",
        periods: tuple[Period, ...] = (),
    ) -> None:
        self.provider = MarketScheduleProvider.always_open()
        if sessions:
            self.provider = MarketScheduleProvider()
            self.provider.swap(ScheduleIndex.build(sessions))
        rules = Rules(grace_us=GRACE_US, late_policy=late_policy)
        self.partitions: StubPartitions = stub_partitions(self.provider, rules, *periods)
        self.reads = stub_reads(self.partitions, self.provider)

    @property
    def engine(self) -> PartitionMachine:
        return self.partitions.owned[0].engine

    def tick(self, at_us: int, price: float = 1.0) -> None:
        feed(self.engine, "X", [at_us], price=price)

    @property
    def row(self) -> SeriesInfo:
        return next(iter(self.reads.series({0})))


def test_the_newest_price_is_that_of_the_open_bar_else_of_the_last_final() -> None:
    worker = Worker()
    worker.tick(MIDNIGHT_US, 1.5)
    assert (worker.row.last_price, worker.row.previous_close) == (1.5, None)
    worker.tick(MIDNIGHT_US + MINUTE_US, 1.75)
    worker.tick(MIDNIGHT_US + 30 * 1_000_000, 9.0)
    assert worker.row.last_price == 1.75, "of the newest minute, not of the tick that came last"
    worker.tick(MIDNIGHT_US + 2 * MINUTE_US + GRACE_US, 2.0)
    assert (worker.row.last_price, worker.row.previous_close) == (2.0, 1.75)


def test_the_first_trading_date_is_compared_to_its_own_open() -> None:
    worker = Worker()
    worker.tick(MIDNIGHT_US + 90 * MINUTE_US, 4.0)
    worker.tick(MIDNIGHT_US + 95 * MINUTE_US, 5.0)
    assert worker.row.reference == Reference("open", 4.0, DAY)


def test_from_the_next_date_on_it_is_the_close_of_the_date_before_also_within_grace() -> None:
    """At the turn of a date its last minute is still open.

    ::

              23:59      24:00                     00:02
        ------|----------|--|----------|-----------|--
         3.0     7.0  (open)  8.0      (grace over)  9.0
    """
    worker = Worker()
    worker.tick(MIDNIGHT_US - 10 * MINUTE_US, 3.0)
    worker.tick(MIDNIGHT_US - MINUTE_US, 7.0)
    assert worker.row.reference == Reference("open", 3.0, DAY - 1)
    worker.tick(MIDNIGHT_US + 1_000_000, 8.0)
    assert worker.engine.state.series[0].open_bars.keys() >= {MIDNIGHT_US - MINUTE_US}
    assert worker.row.reference == Reference("close", 7.0, DAY - 1)
    # in time still, and the newest of its date
    worker.tick(MIDNIGHT_US - 1_000_000, 7.5)
    assert worker.row.reference == Reference("close", 7.5, DAY - 1)
    worker.tick(MIDNIGHT_US + 2 * MINUTE_US, 9.0)
    assert worker.row.reference == Reference("close", 7.5, DAY - 1)
    assert worker.row.last_price == 9.0


def test_a_trading_date_is_that_of_the_sessions_not_the_calendars_day() -> None:
    """Friday's session ends at 22:00, Monday's opens on Sunday at 22:00.

    ::

        Fri 22:00         Sun 22:00    Mon 00:00
        ---|                 |------------|------
        1.0                    2.0          3.0
    """
    hour = 60 * MINUTE_US
    friday, monday = DAY, DAY + 3
    worker = Worker(
        SessionRow("B", "X", friday, 0, MIDNIGHT_US, MIDNIGHT_US + 22 * hour),
        SessionRow("B", "X", monday, 0, MIDNIGHT_US + 70 * hour, MIDNIGHT_US + 94 * hour),
    )
    worker.tick(MIDNIGHT_US + 21 * hour, 1.0)
    for at_us, price in ((71 * hour, 2.0), (73 * hour, 3.0)):
        worker.tick(MIDNIGHT_US + at_us, price)
        assert worker.row.reference == Reference("close", 1.0, friday)


def test_a_revised_close_is_what_the_price_is_compared_to() -> None:
    worker = Worker(late_policy="revise")
    for at_us, price in ((-MINUTE_US, 7.0), (0, 8.0), (5 * MINUTE_US, 9.0)):
        worker.tick(MIDNIGHT_US + at_us, price)
    assert worker.row.reference == Reference("close", 7.0, DAY - 1)
    worker.tick(MIDNIGHT_US - 1_000_000, 6.0)
    assert worker.row.reference == Reference("close", 6.0, DAY - 1)


def test_what_was_looked_up_is_not_looked_up_again_until_the_date_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker()
    for at_us in (-MINUTE_US, MINUTE_US, 5 * MINUTE_US):
        worker.tick(MIDNIGHT_US + at_us)
    book, looks = worker.engine.book, []
    before = book.before

    def counted(period: Period, broker: str, symbol: str, before_us: int) -> Bar | None:
        looks.append(before_us)
        return before(period, broker, symbol, before_us)

    monkeypatch.setattr(book, "before", counted)
    for minute in range(6, 9):
        worker.tick(MIDNIGHT_US + minute * MINUTE_US)
        assert worker.row.reference == Reference("close", 1.0, DAY - 1)
    assert looks == [MIDNIGHT_US]
    worker.tick(MIDNIGHT_US + DAY_US + 5 * MINUTE_US)
    assert worker.row.reference == Reference("close", 1.0, DAY)
    assert looks == [MIDNIGHT_US, MIDNIGHT_US + DAY_US]


def test_an_open_that_retention_has_deleted_is_no_reference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker()
    worker.tick(MIDNIGHT_US + MINUTE_US, 4.0)
    worker.tick(MIDNIGHT_US + 9 * MINUTE_US, 5.0)
    store = worker.partitions.owned[0].stored()
    gone_us = MIDNIGHT_US + 2 * MINUTE_US
    monkeypatch.setattr(store, "retained_from_us", lambda *_: gone_us)
    assert worker.row.reference is None


def test_decimals_are_those_of_the_prices_and_do_not_fall() -> None:
    worker = Worker(periods=(Period.hours(1),))
    worker.tick(MIDNIGHT_US, 1.1215600000000001)
    assert worker.row.price_decimals == 5
    worker.tick(MIDNIGHT_US + MINUTE_US, 1.5)
    assert worker.row.price_decimals == 5
    worker.tick(MIDNIGHT_US + 2 * MINUTE_US, 1.121565)
    assert worker.row.price_decimals == 6
    worker.tick(MIDNIGHT_US + 3 * MINUTE_US, 2.0)
    assert worker.row.price_decimals == 6


def test_a_worker_that_takes_over_finds_the_decimals_in_the_bars() -> None:
    """The newest price is even, and so are the oldest; those between are not."""
    worker = Worker()
    for minute, price in enumerate([*[1.0] * 20, 1.125, 1.25, 2.0, 2.0]):
        worker.tick(MIDNIGHT_US + minute * MINUTE_US, price)
    finals = worker.engine.book.uncommitted(MINUTE, "B", "X")
    worker.partitions.owned[0].stored().put(*finals)
    worker.engine.book.committed(MINUTE, finals)
    assert worker.row.price_decimals == 3


def test_a_partition_that_goes_while_the_list_is_made_ends_it() -> None:
    """Its stores are closed: what is read of them would be an error of theirs, or old."""
    worker = Worker()
    feed(worker.engine, "X", [MIDNIGHT_US])
    feed(worker.engine, "Y", [MIDNIGHT_US])
    rows = iter(worker.reads.series({0}))
    assert next(rows).symbol == "X"
    worker.partitions.owned[0] = StubOwned(worker.engine)
    with pytest.raises(NotHereError):
        next(rows)


@given(st.integers(0, 10**9), st.integers(0, 8))
def test_a_price_needs_as_many_decimals_as_it_is_written_with(digits: int, decimals: int) -> None:
    """Also when adding and halving doubles has left something behind them."""
    price = digits / 10**decimals
    written = len(f"{digits / 10**decimals:.{decimals}f}".rstrip("0").partition(".")[2])
    assert decimals_of(price) == written
    assert decimals_of((price * 0.9 + price * 1.1) / 2) == written
