"""What other programs hold on to: live and final records, their keys, and rejected ticks."""

from __future__ import annotations

import asyncio
import struct
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from barstream.codecs.avro.body import decode
from barstream.model.key import bar_key, series_key, split_bar_key
from tests.functional.minutes import BROKER, Minutes
from tests.functional.recorded_ticks import Recorded
from tests.functional.tick_records import MINUTE_US, SECOND_US, Feed, Tick, feed, now_us
from tests.pipeline import Pipeline, Record, WorkerProcess, pipeline, until

pytestmark = pytest.mark.kafka

#: 2024-01-10T10:00Z, a minute of a feed that is history.
THEN_US = 1_704_880_800 * SECOND_US
INTERVAL_S = 0.2
BUSY_S = 6.0


def by_key(records: list[Record]) -> dict[bytes, list[Record]]:
    found: dict[bytes, list[Record]] = defaultdict(list)
    for record in records:
        assert record.key is not None
        found[record.key].append(record)
    return found


def assert_last_live_equals_final(finals: list[Record], live: list[Record]) -> None:
    shown = by_key(live)
    for key, records in by_key(finals).items():
        assert len(records) == 1, f"{key!r} has {len(records)} finals"
        assert shown[key][-1].value == records[0].value, key
        assert shown[key][-1].partition == records[0].partition
        # the final appears in the live topic once, as its last word
        assert [r.value for r in shown[key]].count(records[0].value) == 1


@pytest.mark.law("L19")
def test_after_final_the_live_record_is_the_final_one(minutes: Minutes) -> None:
    assert_last_live_equals_final(minutes.finals, minutes.live)
    (steady,) = [
        records
        for key, records in by_key(minutes.live).items()
        if key == bar_key(BROKER, "STEADY", minutes.minute_us)
    ]
    assert len(steady) > 20, "the open bar was published while it ran"


def test_the_same_holds_for_a_month_loaded_at_once(recorded: Recorded) -> None:
    live = recorded.made.read(recorded.made.names.live_1m)
    assert_last_live_equals_final(recorded.finals, live)


def test_live_bars_only_grow_and_name_no_close(minutes: Minutes) -> None:
    for records in by_key(minutes.live).values():
        bars = [decode("bar", record.value) for record in records if record.value is not None]
        if bars[0]["broker"] != BROKER:
            continue
        *running, last = bars
        counts = [bar["tick_count"] for bar in running]
        assert counts == sorted(set(counts)), "each update has more ticks than the one before"
        assert all(bar["close_offset"] is None for bar in running)
        assert all(bar["synthetic"] is False for bar in running)
        assert last["tick_count"] >= max(counts, default=0)


def test_keys_are_broker_symbol_and_bucket(minutes: Minutes) -> None:
    for record in [*minutes.finals, *minutes.live]:
        assert record.key is not None
        assert record.value is not None
        bar = decode("bar", record.value)
        assert split_bar_key(record.key) == (bar["broker"], bar["symbol"], bar["bucket_start"])
    start = minutes.minute_us
    when = minutes.final_of("QUIET", start)
    key = next(r.key for r in minutes.finals if r.key == bar_key(BROKER, "QUIET", start))
    text = key.decode().split("\0")
    assert text[:2] == [when["broker"], when["symbol"]]
    assert len(text[2]) == len("2013-01-01T22:00:00Z")
    assert text[2].endswith(":00Z")


@dataclass
class Contract:
    """One worker fed by hand: a busy open bar beside bars that close all the time; bad records."""

    made: Pipeline
    worker: WorkerProcess
    busy_ticks: list[tuple[int, Tick]] = field(default_factory=list)
    bad: dict[str, tuple[int, int, bytes | None, bytes | None]] = field(default_factory=dict)
    """By reason: partition, offset, key and value of a record that makes no bar."""


@pytest.fixture(scope="module")
def contract(kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contract]:
    directory = tmp_path_factory.mktemp("contract")
    options = {"BARS__LIVE_INTERVAL_MS": "200", "BARS__PUBLISH_OFF_SESSION": "true"}
    with pipeline(kafka.bootstrap, directory.name + str(now_us()), directory, **options) as made:
        for symbol, first, last in (
            ("BUSY", "2026-01-01", "2036-01-01"),
            ("OLD", "2024-01-01", "2024-01-31"),
        ):
            made.run(
                "schedule", "load", "--calendar", "24x7", "--broker", "X", "--symbol", symbol,
                "--from", first, "--to", last, "--yes",
            )  # fmt: skip
        found = Contract(made, made.worker())
        asyncio.run(_feed(found))
        yield found


async def _feed(found: Contract) -> None:
    made = found.made
    async with feed(made.bootstrap, made.names.ticks) as to:
        began_us = now_us()
        minute = 0
        while now_us() < began_us + BUSY_S * SECOND_US:
            busy = Tick("X", "BUSY", now_us(), 10 + minute % 7)
            found.busy_ticks.append((await to.tick(busy), busy))
            # each of these closes the minute before it
            await to.tick(Tick("X", "OLD", THEN_US + minute * MINUTE_US + 10 * SECOND_US, 5.0))
            minute += 1
            await asyncio.sleep(0.02)
        await _bad_records(found, to)
    await asyncio.to_thread(
        until, lambda: sum(found.worker.get("/status")["rejected"].values()) >= 7, 20, "refusals"
    )
    await asyncio.to_thread(until, lambda: len(made.rejected()) >= 7, 20, "rejected ticks written")


async def _bad_records(found: Contract, to: Feed) -> None:
    key = series_key("X", "BUSY")
    nan = Tick("X", "BUSY", now_us(), 1.0).value.replace(
        struct.pack("<d", 1.0), struct.pack("<d", float("nan")), 1
    )
    records = {
        "undecodable": (key, b"\xff\xfe garbage", 0),
        "invalid": (key, nan, 0),
        "future": (key, Tick("X", "BUSY", now_us() + 3600 * SECOND_US, 1.0).value, 0),
        "unscheduled": (b"as its producer made it", Tick("x", "nobody", now_us(), 1.0).value, 0),
        "off_session": (key, Tick("X", "BUSY", THEN_US, 1.0).value, 0),
        "late": (series_key("X", "OLD"), Tick("X", "OLD", THEN_US, 1.0).value, 0),
        "partition": (None, Tick("X", "BUSY", now_us(), 1.0).value, 1),
    }
    for reason, (key_, value, partition) in records.items():
        found.bad[reason] = partition, await to.record(key_, value, partition), key_, value


def test_an_open_bar_is_written_at_most_once_per_live_interval(contract: Contract) -> None:
    # bars of another series of the partition become final every 20 ms meanwhile
    live = by_key(contract.made.read(contract.made.names.live_1m))
    updates = [
        record
        for key, records in live.items()
        for record in records
        if key.startswith(series_key("X", "BUSY") + b"\0")
    ]
    updates.sort(key=lambda record: record.offset)
    # a bar begins with a write of its own; two at most are touched in six seconds
    most = BUSY_S / INTERVAL_S + 3
    assert BUSY_S / INTERVAL_S / 4 <= len(updates) <= most
    finals = contract.made.finals_of("OLD")
    assert len(finals) > 60


def test_the_newest_values_of_an_open_bar_get_published(contract: Contract) -> None:
    def newest() -> bool:
        records = contract.made.read(contract.made.names.live_1m)
        mine = [r for r in records if (r.key or b"").startswith(series_key("X", "BUSY") + b"\0")]
        bars = [decode("bar", record.value) for record in mine if record.value is not None]
        last = max(bars, key=lambda bar: int(bar["last_offset"]))
        return bool(last["last_offset"] == contract.busy_ticks[-1][0])

    until(newest, 5, "the last tick is in the live topic")


@pytest.mark.law("L16")
@pytest.mark.parametrize(
    "reason",
    ["undecodable", "invalid", "future", "unscheduled", "off_session", "late", "partition"],
)
def test_a_rejected_tick_is_kept_with_its_reason_and_place(contract: Contract, reason: str) -> None:
    partition, offset, key, value = contract.bad[reason]
    found = [r for r in contract.made.rejected() if r.headers["reason"] == reason.encode()]
    (record,) = found
    assert record.headers["topic"] == contract.made.names.ticks.encode()
    assert record.headers["partition"] == str(partition).encode()
    assert record.headers["offset"] == str(offset).encode()
    assert record.headers["detail"], "what was required and found"
    assert (record.key, record.value) == (key, value)
    assert contract.worker.get("/status")["rejected"][reason] == 1


def test_good_ticks_around_bad_ones_are_not_disturbed(contract: Contract) -> None:
    bars = contract.worker.get("/bars/X/BUSY")["bars"]
    assert sum(bar["tick_count"] for bar in bars) == len(contract.busy_ticks)
