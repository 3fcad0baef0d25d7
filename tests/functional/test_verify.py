"""`barstream verify` is clean on what a worker published, and finds each kind of error alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from barstream.core.keys import bar_key
from barstream.core.time import MINUTE_US
from barstream.history.selection import Selection
from barstream.verify.task import Outcome
from tests.chaos.feed import Feed
from tests.functional.verifying import Copies, bar, changed, copies_of, told, verified
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
    assert len(records) > 40, "too little to prove anything"
    return next(at for at, record in enumerate(records) if bar(record)["tick_count"] > 5)


def apart_from_live(outcome: Outcome) -> list[tuple[str, str, str | None]]:
    """What was found, but for the live bars: a changed final differs from its live bar as well."""
    return [each for each in told(outcome) if each[1] != "live"]


def test_what_a_worker_published_is_right(copies: Copies) -> None:
    done = json.loads(copies.made.run("verify", "--json").splitlines()[-1])
    assert done["type"] == "summary"
    assert done["rules"] == {"difference": {}, "schedule": {}, "unproven": {}}
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


def test_a_selection_of_one_series_and_an_hour_is_right_by_itself(copies: Copies) -> None:
    row = bar(copies.published["rate_1m_final"][real_bar(copies.published["rate_1m_final"])])
    start_us = row["bucket_start"]
    wanted = Selection.of("chx", row["symbol"], start_us, start_us + 2 * MINUTE_US)
    outcome = verified(copies.made.settings, wanted)
    assert told(outcome) == []
    assert outcome.bars["1m"] in (1, 2)


def test_two_processes_find_what_one_finds(copies: Copies) -> None:
    one, two = verified(copies.made.settings), verified(copies.made.settings, processes=2)
    assert (one.bars, one.accounts, one.causes) == (two.bars, two.accounts, two.causes)
    assert sorted(map(str, one.sessions)) == sorted(map(str, two.sessions))
