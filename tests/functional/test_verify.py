"""`barstream verify` is clean on what a worker published, and finds each kind of error alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from barstream.cli import cli
from barstream.log.selection import Selection
from barstream.model.key import bar_key
from barstream.model.time import MINUTE_US
from barstream.verify import run
from barstream.verify.findings import KINDS
from barstream.verify.task import Outcome
from tests.chaos.feed import Feed
from tests.functional.verification import Copies, bar, changed, copies_of, told, verified
from tests.pipeline import Record, pipeline, until

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

OPTIONS = {
    "BARS__SCHEDULE": "false", "BARS__TIMEFRAMES": "2m,1h", "TOPICS__PARTITIONS": "2",
}  # fmt: skip
#: Fields of a bar with ticks, and what they are changed to.
FIELDS: dict[str, Callable[[Any], Any]] = {
    "symbol": lambda _: "OTHER",
    "bucket_start": lambda us: us + MINUTE_US,
    "trading_date": lambda days: days + 1,
    "session": lambda number: number + 1,
    "open": lambda price: price + 0.0001,
    "high": lambda price: price + 1e-12 if price + 1e-12 > price else price * 1.0000001,
    "low": lambda price: price - 0.0001,
    "close": lambda price: price + 0.0001,
    "volume": lambda volume: volume * (1 + 2**-52),
    "tick_count": lambda count: count + 1,
    "open_time": lambda us: us + 1,
    "close_time": lambda us: us - 1,
    "synthetic": lambda _: True,
    "first_offset": lambda offset: offset - 1,
    "last_offset": lambda offset: offset + 1,
}
UPPER_FIELDS = {
    name: change for name, change in FIELDS.items() if name not in {"symbol", "bucket_start"}
} | {"close_offset": lambda offset: offset + 1, "revision": lambda number: number - 1}


@pytest.fixture(scope="module")
def copies(kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copies]:
    """A feed with late ticks, garbage and minutes without ticks, through one worker."""
    directory: Path = tmp_path_factory.mktemp("verify")
    with pipeline(kafka.bootstrap, f"v{directory.stat().st_ino:x}", directory, **OPTIONS) as made:
        feed = Feed(made, seed=20, rate=1500, speed=60.0, series=10)
        feed.start()
        worker = made.worker()
        until(lambda: len(made.finals()) > 60, 60, "60 finals")
        feed.finish()
        before = -1

        def settled() -> bool:
            nonlocal before
            count, before = before, len(made.finals()) + len(made.rejected())
            return count == before

        until(settled, 30, "no more finals")
        worker.stop()
        yield copies_of(made)


def real_bar(records: list[Record]) -> int:
    """Where a bar with several ticks stands."""
    assert len(records) > 20, "too little to prove anything"
    return next(at for at, record in enumerate(records) if bar(record)["tick_count"] > 5)


def apart_from_live(outcome: Outcome) -> list[tuple[str, str, str | None]]:
    """What was found, but for the live bars: a changed final differs from its live bar as well."""
    return [each for each in told(outcome) if each[1] != "live"]


def test_what_a_worker_published_is_right(copies: Copies) -> None:
    done = json.loads(copies.made.run("verify", "--json").splitlines()[-1])
    assert done["type"] == "summary"
    assert done["rules"] == {kind: {} for kind in KINDS}
    assert done["clean"]
    accounts = done["ticks"]
    assert accounts["late"] > 10, "the feed has late ticks"
    assert accounts["refused"] > 0, "and garbage"
    assert done["closed_by"]["heartbeat"] > 0
    assert done["closed_by"]["watermark"] > 0
    assert accounts["ticks"] == sum(
        accounts[name] for name in ("in_bars", "open", "late", "refused", "off_session")
    )


@pytest.mark.parametrize("name", FIELDS)
def test_a_changed_field_is_found_and_only_it(copies: Copies, name: str) -> None:
    def tamper(records: list[Record]) -> list[Record]:
        at = real_bar(records)
        records[at] = changed(records[at], **{name: FIELDS[name](bar(records[at])[name])})
        return records

    outcome = verified(copies.with_topic("rate_1m_final", tamper))
    assert apart_from_live(outcome) == [("difference", "field", name)]


def test_a_bar_that_was_withdrawn_is_missing(copies: Copies) -> None:
    def tamper(records: list[Record]) -> list[Record]:
        return [*records, replace(records[real_bar(records)], value=None)]

    outcome = verified(copies.with_topic("rate_1m_final", tamper))
    assert apart_from_live(outcome) == [("difference", "missing", None)]
    assert outcome.findings.kept[0].ticks


def test_a_bar_nothing_calls_for_is_not_expected(copies: Copies) -> None:
    def tamper(records: list[Record]) -> list[Record]:
        first = min(records, key=lambda each: int(bar(each)["bucket_start"]))
        row = bar(first)
        earlier_us = row["bucket_start"] - 5 * MINUTE_US
        key = bar_key(row["broker"], row["symbol"], earlier_us)
        extra = changed(first, bucket_start=earlier_us)
        return [*records, replace(extra, key=key)]

    outcome = verified(copies.with_topic("rate_1m_final", tamper))
    rules = {each[1] for each in apart_from_live(outcome)}
    assert "no_ticks" in rules


def test_a_close_below_what_allows_it_is_illegal(copies: Copies) -> None:
    """One offset earlier there was neither a tick past the watermark nor a heartbeat."""

    def tamper(records: list[Record]) -> list[Record]:
        # closed by a tick: one past it, and well past its own last one
        at = next(
            at
            for at, record in enumerate(records)
            if bar(record)["tick_count"] > 5
            and copies.is_tick(record, bar(record)["close_offset"] - 1)
        )
        row = bar(records[at])
        records[at] = changed(records[at], close_offset=row["last_offset"] + 1)
        return records

    outcome = verified(copies.with_topic("rate_1m_final", tamper))
    rules = {each[:2] for each in apart_from_live(outcome)}
    assert ("difference", "close") in rules


@pytest.mark.law("L5")
def test_a_close_after_the_tick_that_closed_it_is_too_late(copies: Copies) -> None:
    def tamper(records: list[Record]) -> list[Record]:
        at = next(
            at
            for at, record in enumerate(records)
            if copies.is_tick(record, bar(record)["close_offset"] - 1)
        )
        records[at] = changed(records[at], close_offset=bar(records[at])["close_offset"] + 1)
        return records

    outcome = verified(copies.with_topic("rate_1m_final", tamper))
    assert [each for each in apart_from_live(outcome) if each[1] == "close"] == [
        ("difference", "close", "close_offset")
    ]


def test_without_heartbeats_what_they_closed_was_not_legal(copies: Copies) -> None:
    outcome = verified(copies.with_topic("heartbeats", lambda _: []))
    assert {each[:2] for each in told(outcome)} >= {("difference", "close")}
    assert outcome.causes["heartbeat"] == 0


def test_a_rejection_that_is_gone_is_found_and_only_it(copies: Copies) -> None:
    outcome = verified(copies.with_topic("ticks_rejected", lambda records: records[:-1]))
    assert [(each.rule, each.offset) for each in outcome.findings.kept] == [
        ("rejected", int(copies.published["ticks_rejected"][-1].headers["offset"]))
    ]


def test_a_rejection_written_twice_is_found_and_only_it(copies: Copies) -> None:
    outcome = verified(copies.with_topic("ticks_rejected", lambda records: [*records, records[3]]))
    assert [(each.rule, each.published) for each in outcome.findings.kept] == [("rejected", 2)]


def test_a_rejection_for_another_reason_is_found_and_only_it(copies: Copies) -> None:
    def tamper(records: list[Record]) -> list[Record]:
        records[5] = replace(records[5], headers=records[5].headers | {"reason": b"invalid"})
        return records

    outcome = verified(copies.with_topic("ticks_rejected", tamper))
    assert [(each.rule, each.published) for each in outcome.findings.kept] == [
        ("rejected", "invalid")
    ]


def test_a_tick_that_is_rejected_and_in_a_bar_is_counted_twice(copies: Copies) -> None:
    def tamper(records: list[Record]) -> list[Record]:
        final = next(each for each in copies.published["rate_1m_final"] if bar(each)["tick_count"])
        offset, partition = bar(final)["first_offset"], final.partition
        row = next(each for each in records if each.partition == partition)
        headers = row.headers | {"offset": b"%d" % offset, "reason": b"late"}
        return [*records, replace(row, headers=headers)]

    outcome = verified(copies.with_topic("ticks_rejected", tamper))
    assert [(each.rule, each.published) for each in outcome.findings.kept] == [("rejected", "late")]


def test_a_live_bar_that_is_behind_its_final_is_found_and_only_it(copies: Copies) -> None:
    def tamper(records: list[Record]) -> list[Record]:
        stale = next(each for each in records if bar(each)["close_offset"] is None)
        return [*records, stale]

    outcome = verified(copies.with_topic("rate_1m_live", tamper))
    assert told(outcome) == [("difference", "live", None)]


@pytest.mark.parametrize("name", [*UPPER_FIELDS])
def test_a_changed_field_of_an_upper_bar_is_found_and_only_it(copies: Copies, name: str) -> None:
    def tamper(records: list[Record]) -> list[Record]:
        at = real_bar(records)
        records[at] = changed(records[at], **{name: UPPER_FIELDS[name](bar(records[at])[name])})
        return records

    outcome = verified(copies.with_topic("rate_2m_final", tamper))
    assert told(outcome) == [("difference", "field", name)]
    assert outcome.findings.kept[0].timeframe == "2m"


def test_an_upper_bar_that_is_gone_or_too_many_is_found_and_only_it(copies: Copies) -> None:
    gone = verified(copies.with_topic("rate_2m_final", lambda records: records[1:]))
    assert told(gone) == [("difference", "missing", None)]

    last = max(copies.published["rate_2m_final"], key=lambda each: int(bar(each)["bucket_start"]))

    def open_hour(records: list[Record]) -> list[Record]:
        row = bar(last)
        hour_us = row["bucket_start"] - row["bucket_start"] % (60 * MINUTE_US)
        key = bar_key(row["broker"], row["symbol"], hour_us)
        assert key not in {each.key for each in records}, "the hour is not over"
        return [*records, replace(changed(last, bucket_start=hour_us), key=key)]

    extra = verified(copies.with_topic("rate_1h_final", open_hour))
    assert {each[:2] for each in told(extra)} == {("difference", "not_expected")}


def test_a_wrong_minute_is_told_once_and_not_again_of_its_parents(copies: Copies) -> None:
    def tamper(records: list[Record]) -> list[Record]:
        at = real_bar(records)
        row = bar(records[at])
        records[at] = changed(records[at], high=row["high"] + 5, volume=row["volume"] + 1)
        return records

    outcome = verified(copies.with_topic("rate_1m_final", tamper))
    assert [(each.timeframe, each.field) for each in outcome.findings.kept if each.field] == [
        ("1m", "high"), ("1m", "volume"),
    ]  # fmt: skip


def test_a_selection_of_one_series_and_an_hour_is_right_by_itself(copies: Copies) -> None:
    row = bar(copies.published["rate_1m_final"][real_bar(copies.published["rate_1m_final"])])
    start_us = row["bucket_start"]
    wanted = Selection.of("chx", row["symbol"], start_us, start_us + 2 * MINUTE_US)
    outcome = verified(copies.made.settings, wanted)
    assert told(outcome) == []
    assert outcome.bars["1m"] in (1, 2)


def test_small_work_starts_no_process_of_its_own(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(run, "run_all", started)
    done = CliRunner().invoke(cli, ["verify"], env=copies.made.env)
    assert done.exit_code == 0, done.output
    assert "no differences" in done.output


def test_two_processes_find_what_one_finds(copies: Copies) -> None:
    one, two = verified(copies.made.settings), verified(copies.made.settings, processes=2)
    assert (one.bars, one.accounts, one.causes) == (two.bars, two.accounts, two.causes)
    assert sorted(map(str, one.sessions)) == sorted(map(str, two.sessions))
