"""Every version goes on from what each release left, with the disk of its worker and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from barstream.codecs.topics.bar import decode_row
from barstream.model.time import iso_from_us
from tests.functional.records import expected, send_ticks
from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick
from tests.functional.verification import verified
from tests.offline import differences
from tests.pipeline import Pipeline, until
from tests.replay.replays import newest
from tests.upgrade import golden

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

RELEASES = sorted(golden.PLACE.glob("*.tar.xz"))


def bars_of(made: Pipeline, symbol: str) -> list[dict[str, Any]]:
    """The minutes of a symbol as they stand, ascending."""
    stand = newest(made, made.names.final_1m)
    prefix = f"B\0{symbol}\0".encode()
    return [decode_row(value) for key, value in sorted(stand.items()) if key.startswith(prefix)]


def check_turnover(made: Pipeline, ticks: dict[str, list[Tick]]) -> None:
    """Bars of this version have one; of those that one without began nobody knows it."""
    since_us = golden.file_ticks("A", 1)[0].time_us // MINUTE_US * MINUTE_US
    spent: dict[int, float] = {}
    for tick in ticks["A"]:
        # prices and sizes are eighths: their products add up as floats do
        minute_us = tick.time_us // MINUTE_US * MINUTE_US
        spent[minute_us] = spent.get(minute_us, 0.0) + tick.price * tick.size
    for bar in bars_of(made, "A"):
        if bar["bucket_start"] < since_us:
            # what was filled since, up to the second file, costs nothing
            assert bar["turnover"] is None or bar["synthetic"], bar
        else:
            assert bar["turnover"] == spent.get(bar["bucket_start"], 0.0), bar
        known = bar["turnover"] is not None and bar["volume"] > 0
        assert bar["vwap"] == (bar["turnover"] / bar["volume"] if known else None), bar
    assert {bar["turnover"] for bar in bars_of(made, "A2")} == {None}
    # its open minute goes on without, and those after it do not
    fed = [bar["turnover"] is None for bar in bars_of(made, "FEED")]
    assert fed == sorted(fed, reverse=True)
    assert set(fed) == {True, False}


def read(made: Pipeline, wanted: dict[str, pl.DataFrame], directory: str) -> None:
    """A worker with that disk has every bar, also of the dates before the upgrade."""
    worker = made.worker(directory=directory)
    begin = iso_from_us(golden.MORNING_US)
    for symbol, bars in wanted.items():
        answer = worker.get(f"/bars/B/{symbol}?from={begin}&limit={min(500, len(bars))}")
        assert "bars" in answer, answer
        closes = [bar["close"] for bar in answer["bars"]]
        assert closes == bars["close"].head(500).to_list(), symbol
    assert worker.stop() == 0, worker.tail()
    assert "moved aside" not in worker.log.read_text()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_it_goes_on_from_what_a_release_left(release: Path, tmp_path: Path) -> None:
    with golden.unpacked(release, tmp_path) as made:
        before = newest(made, made.names.final_1m)
        worker = made.worker()
        # its open minute goes on, and late ticks find their bars
        end_us = golden.MORNING_US + 30 * MINUTE_US
        closes = Tick("B", "FEED", end_us + 10 * SECOND_US, 1.0)
        send_ticks(made, [*golden.feed_ticks(600, 900), closes], partition=1)
        golden.load(made, "second.csv", golden.file_ticks("A", 1))
        ticks = {
            "A": [*golden.file_ticks("A", 0), *golden.file_ticks("A", 1)],
            "A2": golden.file_ticks("A2", 0),
            "FEED": golden.feed_ticks(0, 900),
        }
        until_us = {"FEED": end_us}
        wanted = {
            symbol: expected(enumerate(some), until_us.get(symbol))
            for symbol, some in ticks.items()
        }

        def problems() -> list[str]:
            return [
                f"{symbol}: {line}"
                for symbol, bars in wanted.items()
                for line in differences(bars, bars_of(made, symbol))
            ]

        until(lambda: not problems(), 90, "every bar as computed")
        assert worker.stop() == 0, worker.tail()
        assert "moved aside" not in worker.log.read_text()
        after = newest(made, made.names.final_1m)
        kept = {key for key in before if not key.startswith(b"B\0FEED\0")}
        assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
        assert bars_of(made, "DROPPED") == []
        check_turnover(made, ticks)
        outcome = verified(made.settings)
        assert outcome.findings.kept == []
        (note,) = [note for note in outcome.notes if "partition 1" in note]
        assert "have no turnover and no vwap" in note
        assert "the log does not say" not in note
        for directory in ("w0", "empty"):
            read(made, wanted, directory)
        assert newest(made, made.names.final_1m) == after


def test_there_is_one_of_this_release() -> None:
    """It is made with the release: ``python -m tests.upgrade.golden``."""
    assert [path.name.removesuffix(".tar.xz") for path in RELEASES][-1:] == ["0.1.0"]
