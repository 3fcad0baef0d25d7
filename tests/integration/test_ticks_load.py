"""``ticks load`` on real Kafka: every tick once, whatever happens, and its bars closed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from barstream.codecs.topics import series_seen
from barstream.feeds.files import read_ticks
from barstream.feeds.layout import FileLayout, TickFileError
from barstream.feeds.refusals import AlreadyClosedError, AlreadyLoadedError, NoSessionError
from barstream.feeds.schedule_load import load_schedule
from barstream.kafka.topics.names import TopicNames
from barstream.market.schedule import SessionRow
from barstream.market.universe import SeriesSeen
from barstream.model.key import series_key
from barstream.model.time import (
    MINUTE_US,
    SECOND_US,
    days_from_iso_date,
    floor_minute,
    us_from_iso,
)
from tests.integration.loads import (
    GRACE_US,
    Said,
    create_topics,
    load_of,
    now_us,
    read_all,
    read_beats,
    read_ticks_back,
    settings_for,
)

pytestmark = pytest.mark.kafka

TRUEFX = FileLayout(
    {"time": "timestamp", "bid": "bid", "ask": "ask"}, broker="truefx", symbol="usdjpy"
)
HISTDATA = FileLayout(
    {"time": "1", "bid": "2", "ask": "3", "size": "4"},
    broker="histdata",
    symbol="eurusd",
    timezone="-05:00",
    header=False,
)
AS_TICKS = FileLayout(
    {"time": "time", "price": "price", "size": "size"}, broker="fxcm", symbol="usdjpy"
)
MANY = FileLayout({"time": "t", "price": "p", "symbol": "s"}, broker="sim")


def by_symbol(tmp_path: Path, series: int = 5, minutes: int = 200) -> Path:
    """A file sorted by symbol, each series over the same hours."""
    path = tmp_path / "sorted.csv"
    start_us = us_from_iso("2024-01-02T10:00:00Z")
    lines = ["s,t,p"]
    for number in range(series):
        lines += [
            f"S{number},{start_us + i * 15 * SECOND_US + number},{100 + i % 7}"
            for i in range(minutes * 4)
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("truefx-usdjpy-ticks.csv", TRUEFX),
        ("histdata-eurusd-20200101-ticks.csv", HISTDATA),
        ("usdjpy-m1-2013-as-ticks.csv.gz", AS_TICKS),
    ],
)
def test_every_tick_of_the_recorded_files_arrives_once(
    kafka: Any, unique: str, data_dir_real: Path, name: str, layout: FileLayout
) -> None:
    async def go() -> None:
        settings = settings_for(kafka.bootstrap, unique)
        await create_topics(settings)
        loaded = await (await load_of(settings, data_dir_real / name, layout)).run()
        assert loaded.done
        expected = read_ticks(data_dir_real / name, layout)
        found = await read_ticks_back(settings)
        assert loaded.ticks == len(found) == len(expected)
        assert [tick["time"] for tick in found] == expected.time_us.tolist()
        assert [tick["price"] for tick in found] == expected.price.tolist()
        assert {(tick["broker"], tick["symbol"]) for tick in found} == set(expected.names)
        last = await read_beats(settings)
        assert last[-1][1].bucket_start_us == floor_minute(int(expected.time_us[-1]))

    asyncio.run(go())


def test_heartbeats_are_legal_and_their_barriers_cover_the_ticks(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # ticks of a series   | minute k | minute k+1 ...        hb(k): barrier > every offset of k
    async def go() -> None:
        settings = settings_for(kafka.bootstrap, unique)
        await create_topics(settings)
        path = by_symbol(tmp_path)
        loaded = await (await load_of(settings, path, MANY, chunk_rows=700)).run()
        ticks = await read_ticks_back(settings)
        beats = await read_beats(settings)
        assert loaded.heartbeats == len(beats) > 5
        newest: dict[str, int] = {}
        for record, beat in beats:
            own = [t for t in ticks if t["symbol"] == beat.symbol]
            assert {t["partition"] for t in own} == {record.partition}
            assert beat.source == "loader"
            assert beat.bucket_start_us + MINUTE_US + GRACE_US <= record.appended_us
            through = [t["offset"] for t in own if t["time"] < beat.bucket_start_us + MINUTE_US]
            assert max(through) < beat.barrier
            # nothing of a closed minute stands at or past the barrier: no tick becomes late
            assert all(
                t["time"] >= beat.bucket_start_us + MINUTE_US
                for t in own
                if t["offset"] >= beat.barrier
            )
            assert newest.get(beat.symbol, 0) < beat.bucket_start_us
            newest[beat.symbol] = beat.bucket_start_us
        for symbol, minute_us in newest.items():
            assert minute_us == floor_minute(max(t["time"] for t in ticks if t["symbol"] == symbol))
        assert len(newest) == 5

    asyncio.run(go())


def test_a_second_load_of_the_same_file_is_refused(
    kafka: Any, unique: str, data_dir_real: Path, tmp_path: Path
) -> None:
    async def go() -> None:
        settings = settings_for(kafka.bootstrap, unique)
        await create_topics(settings)
        path = data_dir_real / "truefx-usdjpy-ticks.csv"
        await (await load_of(settings, path, TRUEFX)).run()
        with pytest.raises(AlreadyLoadedError, match=r"1,000 ticks.*--again"):
            await (await load_of(settings, path, TRUEFX)).run()
        # the same ticks in another file: its minutes are closed by the heartbeats of the first
        other = tmp_path / "other.csv"
        other.write_text(path.read_text() + "2013-01-01 22:36:00+00:00,1,2\n")
        with pytest.raises(AlreadyClosedError, match="closed until 2013-01-01T22:36:00Z"):
            await (await load_of(settings, other, TRUEFX)).run()
        assert len(await read_ticks_back(settings)) == 1_000
        await (await load_of(settings, path, TRUEFX, again=True)).run()
        assert len(await read_ticks_back(settings)) == 2_000

    asyncio.run(go())


def test_a_file_that_goes_on_where_the_closed_minutes_end_is_taken(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    async def go() -> None:
        settings = settings_for(kafka.bootstrap, unique)
        await create_topics(settings)
        for text in ("t,p,s\n2024-01-02 10:00:30,1,a\n", "t,p,s\n2024-01-02 10:01:00,1,a\n"):
            path = tmp_path / "part.csv"
            path.write_text(text)
            assert (await (await load_of(settings, path, MANY)).run()).done

    asyncio.run(go())


def test_a_series_stays_in_the_partition_it_was_seen_in(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    async def go() -> None:
        settings = settings_for(kafka.bootstrap, unique)
        names = await create_topics(settings)
        path = by_symbol(tmp_path, series=3, minutes=2)
        rows = [SeriesSeen("SIM", f"S{i}", 2, 0, 0, False, -1) for i in range(3)]
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:
            for row in rows:
                await producer.send_and_wait(
                    names.series_seen, series_seen.encode(row), series_key(row.broker, row.symbol)
                )
        await (await load_of(settings, path, MANY)).run()
        assert {tick["partition"] for tick in await read_ticks_back(settings)} == {2}
        assert {record.partition for record, _ in await read_beats(settings)} == {2}

    asyncio.run(go())


def test_a_stopped_load_goes_on_where_it_ended(kafka: Any, unique: str, tmp_path: Path) -> None:
    async def go() -> None:
        settings = settings_for(kafka.bootstrap, unique)
        await create_topics(settings)
        path = by_symbol(tmp_path)
        load = await load_of(settings, path, MANY, chunk_rows=500)

        class StopsAfterTwo(Said):
            def advance(self, ticks: int) -> None:
                super().advance(ticks)
                if self.ticks >= 1_000:
                    load.stop()

        load._watcher = StopsAfterTwo()
        first = await load.run()
        assert (first.ticks, first.done) == (1_000, False)
        said = Said()
        second = await (await load_of(settings, path, MANY, said)).run()
        assert (second.resumed_at, second.ticks, second.done) == (1_000, 3_000, True)
        assert said.began_at == 1_000
        assert_once(await read_ticks_back(settings), 5, 800)

    asyncio.run(go())


def assert_once(ticks: list[dict[str, Any]], series: int, each: int) -> None:
    """Every tick of `by_symbol` is there once, each series in order."""
    assert len(ticks) == series * each
    for number in range(series):
        own = [tick["time"] for tick in ticks if tick["symbol"] == f"S{number}"]
        assert len(own) == each
        assert own == sorted(set(own))


LOADER = """
import asyncio, sys
from pathlib import Path
from barstream.feeds.layout import FileLayout
from barstream.feeds.refusals import AlreadyLoadedError
from tests.integration.loads import load_of, settings_for
async def go(bootstrap, unique, path):
    layout = FileLayout({"time": "t", "price": "p", "symbol": "s"}, broker="sim")
    load = await load_of(settings_for(bootstrap, unique), Path(path), layout, chunk_rows=60)
    try:
        await load.run()
    except AlreadyLoadedError:  # killed between its last commit and its end
        pass
asyncio.run(go(*sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_load_that_is_killed_again_and_again_sends_every_tick_once(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    async def go() -> None:
        settings = settings_for(kafka.bootstrap, unique)
        names = await create_topics(settings)
        path = by_symbol(tmp_path)
        dice = random.Random(4)
        kills = 0
        root = Path(__file__).parents[2]
        for _ in range(12):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", LOADER, kafka.bootstrap, unique, str(path),
                cwd=root, env={**os.environ, "PYTHONPATH": str(root)},
            )  # fmt: skip
            grown = len(await read_all(kafka.bootstrap, names.ticks, isolation="read_uncommitted"))
            wanted = grown + dice.randrange(50, 700)
            while process.returncode is None and wanted:
                seen = await read_all(kafka.bootstrap, names.ticks, isolation="read_uncommitted")
                if len(seen) >= wanted:
                    with suppress(ProcessLookupError):  # it was done just now
                        process.send_signal(signal.SIGKILL)
                    break
                await asyncio.sleep(0.01)
            if await process.wait() == 0:
                break
            kills += 1
        else:
            await (await load_of(settings, path, MANY)).run()
        assert kills >= 2
        assert_once(await read_ticks_back(settings), 5, 800)
        everything = await read_all(kafka.bootstrap, names.ticks, isolation="read_uncommitted")
        assert len(everything) >= 4_000
        last = {beat.symbol: beat.bucket_start_us for _, beat in await read_beats(settings)}
        assert len(last) == 5

    asyncio.run(go())


def test_the_last_minute_of_a_file_of_today_waits_until_it_is_over(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    async def go() -> None:
        settings = settings_for(kafka.bootstrap, unique)
        await create_topics(settings)
        # the minute of this tick is over in a few seconds, its grace a few seconds later
        soon_us = now_us() - MINUTE_US - GRACE_US + 2 * SECOND_US
        path = tmp_path / "today.csv"
        tick_us = floor_minute(soon_us)
        path.write_text(f"t,p,s\n{tick_us},1,a\n{tick_us + 40 * MINUTE_US},1,b\n")
        said = Said()
        # a feed whose clock may be ahead of ours (bars.max_future_skew_s)
        load = await load_of(settings, path, MANY, said, skew_us=60 * MINUTE_US)
        loaded = await load.run()
        assert loaded.done
        assert any("not over" in sentence for sentence in said.sentences)
        for record, beat in await read_beats(settings):
            assert beat.bucket_start_us + MINUTE_US + GRACE_US <= record.appended_us

    asyncio.run(go())


def test_a_paced_load_takes_its_time(kafka: Any, unique: str, tmp_path: Path) -> None:
    async def go() -> None:
        settings = settings_for(kafka.bootstrap, unique)
        await create_topics(settings)
        path = by_symbol(tmp_path, series=2, minutes=10)
        began = asyncio.get_running_loop().time()
        await (await load_of(settings, path, MANY, pace=300.0)).run()
        took = asyncio.get_running_loop().time() - began
        assert 1.5 < took < 15  # ten minutes at 300 times the pace
        assert len(await read_ticks_back(settings)) == 80
        assert len(await read_beats(settings)) > 10

    asyncio.run(go())


def test_ticks_that_vanished_with_their_topic_are_noticed(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    from aiokafka.admin import AIOKafkaAdminClient

    from barstream.feeds.load_positions import PositionUnknownError

    async def go() -> None:
        settings = settings_for(kafka.bootstrap, unique)
        names = await create_topics(settings)
        path = by_symbol(tmp_path, series=2, minutes=10)
        await (await load_of(settings, path, MANY)).run()
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        await admin.delete_topics([names.ticks])
        await asyncio.sleep(1)
        await admin.close()
        await create_topics(settings)
        with pytest.raises(PositionUnknownError, match="made again"):
            await (await load_of(settings, path, MANY)).run()

    asyncio.run(go())


def test_one_row_of_the_future_closes_nothing_and_the_next_day_can_be_loaded(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # Tuesday 15:00, [2042], 15:01, 15:02 | Wednesday 15:00 ...
    async def go() -> None:
        settings = settings_for(kafka.bootstrap, unique)
        await create_topics(settings)
        typo, after = tmp_path / "typo.csv", tmp_path / "next.csv"
        typo.write_text(
            "t,p,s\n2024-01-02 15:00:00,1,a\n2042-01-02 15:00:30,2,a\n2024-01-02 15:01:00,3,a\n"
            "2024-01-02 15:02:00,4,a\n"
        )
        after.write_text("t,p,s\n2024-01-03 15:00:00,5,a\n2024-01-03 15:01:00,6,a\n")
        with pytest.raises(TickFileError, match="row 3: time"):
            await load_of(settings, typo, MANY)
        lenient = replace(MANY, skip_bad=True)
        assert (await (await load_of(settings, typo, lenient)).run()).ticks == 3
        beats = await read_beats(settings)
        assert beats[-1][1].bucket_start_us == us_from_iso("2024-01-02T15:02:00Z")
        assert (await (await load_of(settings, after, MANY)).run()).ticks == 2

    asyncio.run(go())


def test_only_ticks_in_session_are_followed_by_heartbeats(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # session 10:00 to 11:00      | off | 10:05 | 10:10 | off ... 20:00        at first: none
    async def go() -> None:
        settings = settings_for(kafka.bootstrap, unique, schedule=True)
        await create_topics(settings)
        path = tmp_path / "ticks.csv"
        path.write_text(
            "t,p,s\n2024-01-02 09:59:00,1,a\n2024-01-02 10:05:00,1,a\n"
            "2024-01-02 10:10:00,2,a\n2024-01-02 20:00:00,3,a\n"
        )
        with pytest.raises(NoSessionError, match="schedule load --calendar NAME --broker 'SIM'"):
            await load_of(settings, path, MANY)
        opens, closes = (us_from_iso(f"2024-01-02T{hour}:00:00Z") for hour in (10, 11))
        row = SessionRow("SIM", "A", days_from_iso_date("2024-01-02"), 0, opens, closes)
        await load_schedule(settings, [row])
        load = await load_of(settings, path, MANY)
        loaded = await load.run()
        assert loaded.ticks == 4
        assert load.admission.no_bar == {"off_session": 2}
        assert [beat.bucket_start_us for _, beat in await read_beats(settings)] == [
            us_from_iso("2024-01-02T10:10:00Z")
        ]

    asyncio.run(go())


def test_several_files_are_one_load_in_time_order(kafka: Any, unique: str, tmp_path: Path) -> None:
    async def go() -> None:
        settings = settings_for(kafka.bootstrap, unique)
        await create_topics(settings)
        paths = [tmp_path / name for name in ("b.csv", "a.csv")]
        paths[0].write_text("t,p,s\n2024-01-02 10:00:30,2,a\n2024-01-02 10:01:30,4,a\n")
        paths[1].write_text("t,p,s\n2024-01-02 10:00:00,1,a\n2024-01-02 10:01:00,3,b\n")
        assert (await (await load_of(settings, paths, MANY)).run()).ticks == 4
        found = sorted(await read_ticks_back(settings), key=lambda tick: tick["time"])
        assert [tick["price"] for tick in found] == [1, 2, 3, 4]
        with pytest.raises(AlreadyLoadedError, match="and 1 more"):
            await (await load_of(settings, paths[::-1], MANY)).run()

    asyncio.run(go())


def test_names_of_topics_are_resolved() -> None:
    names = TopicNames.of(settings_for("localhost:1", "tx"))
    assert names.final_1m == "tx_1m_final"
