"""A week that ends after its schedule does: the last minute is in the log once more (spec 6)."""

from __future__ import annotations

import asyncio
from typing import Any

from barstream.clock import system_clock_us
from barstream.heartbeat.leader import Leader
from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex, SessionRow
from barstream.market.universe import SeriesSeen
from barstream.model.period import Period
from barstream.model.time import DAY_US, MINUTE_US, SECOND_US, floor_minute, us_from_iso
from tests.integration.heartbeat_bench import RULES, Town, eventually, running

WEEK, MONTH = Period.weeks(), Period.months()


def ended(symbol: str, open_us: int) -> tuple[SessionRow, SeriesSeen]:
    """A series in partition 1 with one session of ten minutes, all of it closed."""
    date = open_us // DAY_US
    row = SessionRow("DEMO", symbol, date, 0, open_us, open_us + 10 * MINUTE_US)
    return row, SeriesSeen("DEMO", symbol, 1, open_us, date, True, row.close_us)


def provider(*rows: SessionRow) -> MarketScheduleProvider:
    made = MarketScheduleProvider()
    made.swap(ScheduleIndex.build(rows))
    return made


async def another_round(leader: Leader, busy: SessionRow) -> None:
    """Have a minute of another series come due, and wait until it is sent: all is planned again."""
    sent = leader.report.sent_total
    date = busy.trading_date
    leader.sources.universe.put(SeriesSeen("DEMO", busy.symbol, 0, 0, date, True, busy.open_us))
    leader.wake()
    await eventually(lambda: leader.report.sent_total > sent)


def test_a_week_that_is_over_gets_one_repeat_with_its_barrier_from_each_leader(
    kafka: Any,
) -> None:
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        await town.append(town.ticks, 1, [b"t"] * 3)
        minute_us = floor_minute(system_clock_us()) - 5 * MINUTE_US
        monday_us = WEEK.floor(system_clock_us())
        busy = [ended(f"BUSY{n}", minute_us)[0] for n in range(4)]
        over, over_row = ended("OVER", monday_us - 3 * DAY_US)
        goes_on, goes_on_row = ended("GOES_ON", monday_us - 3 * DAY_US)
        later = ended("GOES_ON", monday_us + 8 * DAY_US)[0]
        for rounds in (busy[:2], busy[2:]):
            leader = town.leader(
                [over_row, goes_on_row],
                provider=provider(over, goes_on, later, *busy),
                periods=[WEEK],
            )
            async with running(leader):
                await eventually(lambda: leader.report.leader)  # noqa: B023
                for each in rounds:
                    await another_round(leader, each)
        beats = [b for b in await town.beats_committed() if b.partition == 1]
        assert [b.record.symbol for b in beats] == ["OVER", "OVER"]
        for beat in beats:
            assert beat.record.bucket_start_us == over.close_us - MINUTE_US
            assert beat.record.barrier == 3
            assert beat.appended_us >= monday_us + RULES.grace_us

    asyncio.run(scene())


def test_the_repeat_is_sent_when_the_clock_passes_the_end_of_the_week_and_of_the_month(
    kafka: Any,
) -> None:
    # The topic has no append times, so that the clock can be any.
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create(append_time=False)
        clock_us = [us_from_iso("2024-03-10T23:59:50Z")]  # a Sunday
        over, over_row = ended("OVER", us_from_iso("2024-03-08T10:00:00Z"))
        leader = town.leader(
            [over_row],
            provider=provider(over),
            periods=[WEEK, MONTH],
            clock=lambda: clock_us[0],
        )
        sent_at = []
        async with running(leader):
            await eventually(lambda: leader.report.leader)
            ends = ["2024-03-11T00:00:00Z", "2024-04-01T00:00:00Z"]
            for number, end in enumerate(ends):
                due_us = us_from_iso(end) + RULES.grace_us
                clock_us[0] = due_us - 1
                leader.wake()
                await asyncio.sleep(0.3)
                assert leader.report.repeated == number
                clock_us[0] = due_us
                await eventually(lambda: leader.report.repeated > number)  # noqa: B023
                clock_us[0] += SECOND_US
                sent_at.append(due_us)
        beats = await town.beats_committed()
        assert [b.record.sent_at_us for b in beats] == sent_at
        assert {b.record.bucket_start_us for b in beats} == {over.close_us - MINUTE_US}

    asyncio.run(scene())


def test_a_series_whose_schedule_changed_gets_its_repeat_again(kafka: Any) -> None:
    # rows of the week are withdrawn after it was over: what is left of it must be proved over
    async def scene() -> None:
        town = Town(kafka.bootstrap)
        await town.create()
        monday_us = WEEK.floor(system_clock_us())
        rows = [ended("OVER", monday_us - days * DAY_US)[0] for days in (4, 3)]
        row = ended("OVER", monday_us - 3 * DAY_US)[1]
        leader = town.leader([row], provider=provider(*rows), periods=[WEEK])
        async with running(leader):
            await eventually(lambda: leader.report.repeated == 1)
            index = leader.sources.provider.index.updated({("DEMO", "OVER"): rows[:1]})
            leader.sources.provider.swap(index)
            leader.wake()
            await eventually(lambda: leader.report.repeated == 2)
        # a minute may be there twice: what a broker may not have taken is sent again
        minutes = dict.fromkeys(b.record.bucket_start_us for b in await town.beats_committed())
        assert list(minutes) == [row.close_us - MINUTE_US for row in reversed(rows)]

    asyncio.run(scene())
