"""``barstream schedule load`` and ``show``, as typed, against real Kafka."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from barstream.cli import cli
from barstream.codecs.topics.session import encode_session, session_key
from barstream.market.schedule import SessionRow
from barstream.model.time import DAY_US
from tests.functional.topics import new_topic, put
from tests.kafka_cluster import KafkaCluster

Run = Callable[..., Result]
HEADER = "broker,symbol,trading_date,open,close"


@pytest.fixture
def run(kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs ``barstream schedule ...`` on a topic of the test's own."""
    topic = asyncio.run(new_topic(kafka.bootstrap))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BARSTREAM_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("BARSTREAM_APP_ID", topic)
    monkeypatch.setenv("BARSTREAM_TOPICS__MARKET_SCHEDULE", topic)
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["schedule", *arguments])
        assert result.exit_code == code, result.output
        return result

    return call


def shown(run: Run, *arguments: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in run("show", *arguments, "--json").stdout.splitlines()]


def write(name: str, lines: Sequence[str]) -> str:
    Path(name).write_text("\n".join([HEADER, *lines]), encoding="utf-8")
    return name


def day(number: int, close: str = "17:00") -> str:
    return f"oanda,eurusd,2024-01-{number:02},2024-01-{number:02} 09:00,2024-01-{number:02} {close}"


def test_a_calendar_is_loaded_and_shown(run: Run) -> None:
    loaded = run(
        "load", "--calendar", "FX", "--broker", "oanda", "--symbol", "eurusd", "--symbol", "usdjpy",
        "--from", "2024-01-01", "--to", "2024-01-12",
    )  # fmt: skip

    assert "20 added, 0 changed, 0 withdrawn, 0 unchanged" in loaded.output
    assert "━" not in loaded.output  # a bar is for a terminal
    assert all(line == line.rstrip() for line in loaded.output.splitlines())
    sessions = shown(run, "Oanda", "eurusd", "--from", "2024-01-02", "--to", "2024-01-03")
    assert sessions == [
        {
            "broker": "OANDA",
            "symbol": "EURUSD",
            "trading_date": f"2024-01-0{number}",
            "session": 0,
            "open": f"2024-01-0{number - 1}T22:00:00Z",
            "close": f"2024-01-0{number}T22:00:00Z",
        }
        for number in (2, 3)
    ]
    assert "2024-01-12T22:00:00Z" in run("show", "oanda", "usdjpy").output


def test_a_second_load_shows_the_difference_first_and_withdraws_what_is_absent(run: Run) -> None:
    run("load", write("first.csv", [day(number) for number in range(2, 7)]))
    file = write("second.csv", [day(2), day(4, close="13:00"), day(6), day(7)])

    tried = run("load", file, "--dry-run")
    assert "1 added, 1 changed, 2 withdrawn, 2 unchanged" in tried.output
    assert "nothing was changed" in tried.output
    assert len(shown(run, "oanda", "eurusd")) == 5

    run("load", file)
    assert [(s["trading_date"], s["close"]) for s in shown(run, "oanda", "eurusd")] == [
        ("2024-01-02", "2024-01-02T17:00:00Z"),
        ("2024-01-04", "2024-01-04T13:00:00Z"),
        ("2024-01-06", "2024-01-06T17:00:00Z"),
        ("2024-01-07", "2024-01-07T17:00:00Z"),
    ]
    assert "nothing to change" in run("load", file).output


def test_a_range_limits_what_is_read_and_widens_what_is_withdrawn(run: Run) -> None:
    run("load", write("first.csv", [day(number) for number in range(2, 7)]))

    run("load", write("one.csv", [day(3), day(9)]), "--from", "2024-01-02", "--to", "2024-01-04")

    dates = [session["trading_date"] for session in shown(run, "oanda", "eurusd")]
    assert dates == ["2024-01-03", "2024-01-05", "2024-01-06"]


def test_times_without_a_zone_are_of_the_zone_given(run: Run) -> None:
    run("load", write("ny.csv", [day(2)]), "--timezone", "America/New_York", "--yes")

    (session,) = shown(run, "oanda", "eurusd")
    assert session["open"] == "2024-01-02T14:00:00Z"


def test_a_bad_row_refuses_the_whole_file(run: Run) -> None:
    refused = run("load", write("bad.csv", [day(2), day(3, close="08:00")]), code=2)

    assert "line 3: close must be after open" in refused.output
    assert "like those of every series" in run("show", "oanda", "eurusd", code=2).output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["load"], "FILE or --calendar"),
        (["load", "--calendar", "FX"], "--broker"),
        (["load", "--calendar", "XNYX", "--broker", "b", "--symbol", "s"], "XNYS"),
        (["load", "--calendar", "FX", "--broker", " ", "--symbol", "s"], "broker or symbol"),
        (["load", "--calendar", "FX", "--from", "soon"], "2024-01-31"),
        (["load", "missing.csv"], "does not exist"),
    ],
)
def test_a_command_that_cannot_be_carried_out_says_why(
    run: Run, arguments: list[str], reason: str
) -> None:
    assert reason in run(*arguments, code=2).output


def test_a_large_load_is_one_transaction_and_comes_back_whole(run: Run) -> None:
    symbols = [argument for n in range(60) for argument in ("--symbol", f"S{n}")]

    loaded = run("load", "--calendar", "XHKG", "--broker", "HK", *symbols, "--yes")

    assert " 0 changed, 0 withdrawn" in loaded.output
    assert len(shown(run, "HK", "S59")) > 900


def test_a_misspelt_symbol_is_shown_those_that_are_near(run: Run) -> None:
    run("load", write("first.csv", [day(2)]))

    found = run("show", "oanda", "eursud", code=2).output

    assert "OANDA EURSUD has no sessions" in found
    assert "rejected as unscheduled; did you mean OANDA EURUSD?" in found
    assert "did you mean" not in run("show", "oanda", "spx500", code=2).output


def test_what_a_calendar_does_not_know_is_not_loaded_and_it_is_said(run: Run) -> None:
    loaded = run("load", "--calendar", "XSHG", "--broker", "b", "--symbol", "s").output

    assert "calendar XSHG is known until" in loaded
    assert "0 changed, 0 withdrawn" in loaded
    assert "no daily maintenance hour" in run(
        "load", "--calendar", "cme", "--broker", "b", "--symbol", "es", "--dry-run"
    ).output  # fmt: skip


def test_records_of_others_that_no_worker_takes_are_named(run: Run, kafka: KafkaCluster) -> None:
    """Avro with symbol before broker, and milliseconds: neither is read by position."""
    run("load", write("first.csv", [day(2)]))
    topic = os.environ["BARSTREAM_TOPICS__MARKET_SCHEDULE"]
    theirs = SessionRow("EURUSD", "OANDA", 19_724, 0, 19_724 * DAY_US, 19_725 * DAY_US)
    millis = replace(theirs, open_us=theirs.open_us // 1000, close_us=theirs.close_us // 1000)
    keys = session_key(replace(theirs, broker="OANDA", symbol="EURUSD")), session_key(theirs)
    values = encode_session(theirs), encode_session(millis)
    asyncio.run(put(kafka.bootstrap, topic, zip(keys, values, strict=True)))

    found = run("show", "oanda", "eurusd").output

    assert "refused by workers: partition=0 offset=" in found
    assert "a plain Avro body must be of session.avsc" in found
    assert "trading_date must be within 31 days" in found
    assert "2024-01-02T09:00:00Z" in found


def test_without_a_schedule_a_series_trades_around_the_clock(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BARSTREAM_BARS__SCHEDULE", "false")

    assert "B S trades around the clock" in run("show", "b", "s").output
    assert "bars.schedule is false" in run("show", "b", "s", "--json").output
    assert "no worker reads sessions" in run("load", write("first.csv", [day(2)])).output
