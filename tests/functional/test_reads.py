"""What an application developer sees: HTTP and the command line equal the topic."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime
from typing import Any

import pytest

from barstream.codecs.topics.bar import decode_bar
from barstream.codecs.topics.bar_json import bar_to_json
from barstream.model.bar_fields import NAMES
from barstream.model.period import Period
from tests.functional.minutes import BROKER, Minutes
from tests.functional.recorded_ticks import (
    FILES,
    HISTDATA,
    MONTH,
    TRUEFX,
    Recorded,
    RecordedFile,
    inside,
)
from tests.functional.tick_records import MINUTE_US

pytestmark = pytest.mark.kafka


def in_topic(recorded: Recorded, file: RecordedFile) -> list[dict[str, Any]]:
    bars = [bar_to_json(decode_bar(r.value)) for r in recorded.finals if r.value is not None]
    mine = [bar for bar in bars if (bar["broker"], bar["symbol"]) == (file.broker, file.symbol)]
    return sorted(mine, key=lambda bar: str(bar["bucket_start"]))


def bars_path(file: RecordedFile) -> str:
    return f"/bars/{file.broker}/{file.symbol}"


def as_final(bars: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [bar | {"status": "final"} for bar in bars]


def metrics_of(worker_port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{worker_port}/metrics", timeout=5) as got:
        lines = got.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def test_pages_of_bars_make_up_the_topic(recorded: Recorded) -> None:
    start, pages = "2013-01-01", []
    while True:
        path = f"{bars_path(MONTH)}?timeframe=1m&from={start}&limit=10000"
        page = recorded.worker.get(path)
        pages.append(len(page["bars"]))
        seen = pages[:-1]
        assert page["bars"] == as_final(in_topic(recorded, MONTH))[sum(seen) : sum(pages)]
        if not page["truncated"]:
            break
        start = page["next_from"]
    assert sum(pages) == len(in_topic(recorded, MONTH))
    assert len(pages) > 2
    assert "next_from" not in page


@pytest.mark.parametrize("timeframe", ["5m", "15m", "1h", "1d"])
def test_every_timeframe_is_its_topic_over_http_and_on_the_command_line(
    recorded: Recorded, timeframe: str
) -> None:
    records = recorded.made.read(recorded.made.names.rollups[Period.parse(timeframe)])
    bars = [bar_to_json(decode_bar(r.value)) for r in records if r.value is not None]
    name = MONTH.broker, MONTH.symbol
    expected = sorted(
        (bar for bar in bars if (bar["broker"], bar["symbol"]) == name),
        key=lambda bar: str(bar["bucket_start"]),
    )
    assert len(expected) >= 20
    body = recorded.worker.get(f"{bars_path(MONTH)}?timeframe={timeframe}&limit=10000")
    finals = [bar for bar in body["bars"] if bar["status"] == "final"]
    assert finals == as_final(expected)
    url = f"http://127.0.0.1:{recorded.worker.port}"
    options = ("--timeframe", timeframe, "--from", "2013-01-01", "--json", "--url", url)
    printed = recorded.made.run("bars", *name, *options).splitlines()
    assert [json.loads(line) for line in printed] == body["bars"]


def test_pages_of_all_series_are_every_topic_in_the_order_of_its_keys(recorded: Recorded) -> None:
    records = recorded.made.read(recorded.made.names.rollups[Period.hours(1)])
    keys = sorted(record.key or b"" for record in records)
    found: list[bytes] = []
    after = ""
    while True:
        page = recorded.worker.get(f"/bars?timeframe=1h&limit=97{after}")
        assert page["complete"] is True
        found += [
            f"{bar['broker']}\0{bar['symbol']}\0{bar['bucket_start']}".encode()
            for bar in page["bars"]
            if bar["status"] == "final"
        ]
        if not page["truncated"]:
            break
        after = f"&after={page['next_after']}"
    assert found == keys


def test_pages_go_backwards_as_well(recorded: Recorded) -> None:
    expected = as_final(in_topic(recorded, TRUEFX))[::-1]
    found: list[dict[str, Any]] = []
    query = ""
    for _ in range(10):
        page = recorded.worker.get(f"{bars_path(TRUEFX)}?order=desc&limit=7{query}")
        assert len(page["bars"]) <= 7
        found += page["bars"]
        if not page["truncated"]:
            break
        query = f"&to={page['next_to']}"
    assert found == expected


def test_from_is_inclusive_and_to_exclusive(recorded: Recorded) -> None:
    page = recorded.worker.get(
        f"{bars_path(TRUEFX)}?from=2013-01-01T22:03:00Z&to=2013-01-01T22:06:00Z"
    )
    starts = [bar["bucket_start"] for bar in page["bars"]]
    assert starts == [f"2013-01-01T22:0{minute}:00Z" for minute in (3, 4, 5)]
    assert page["truncated"] is False
    # from is floored to its minute; names are read in any spelling
    page = recorded.worker.get("/bars/tfx/usdjpy?from=2013-01-01T22:03:59Z&limit=1")
    assert page["bars"][0]["bucket_start"] == "2013-01-01T22:03:00Z"


def test_the_series_list_names_every_file(recorded: Recorded) -> None:
    rows = {(r["broker"], r["symbol"]): r for r in recorded.worker.get("/series")["series"]}
    assert set(rows) == {(file.broker, file.symbol) for file in FILES}
    for file in FILES:
        row, ticks = rows[file.broker, file.symbol], recorded.ticks(file)
        last_us = int(inside(ticks, recorded.sessions(file))["time_us"][-1])
        stamp = datetime.fromtimestamp(last_us / 1e6, UTC)
        assert row["here"] is True
        assert datetime.fromisoformat(row["last_tick"]) == stamp
        ended = last_us // MINUTE_US * MINUTE_US + MINUTE_US
        assert datetime.fromisoformat(row["closed_until"]).timestamp() * 1e6 == ended
        assert row["partition"] == next(
            r.partition
            for r in recorded.tick_records
            if r.key == f"{file.broker}\0{file.symbol}".encode()
        )


def test_the_schedule_over_http_is_the_one_the_command_shows(recorded: Recorded) -> None:
    body = recorded.worker.get(
        f"/schedule/{HISTDATA.broker}/{HISTDATA.symbol}?from=2019-12-01&to=2020-02-01"
    )
    names = ("trading_date", "session")
    shown = [
        [row[name] for name in names] + [datetime.fromisoformat(row[n]) for n in ("open", "close")]
        for row in recorded.sessions(HISTDATA)
    ]
    assert body["scheduled"] is True
    assert [
        [row[name] for name in names] + [datetime.fromisoformat(row[n]) for n in ("open", "close")]
        for row in body["sessions"]
    ] == shown
    assert recorded.worker.get("/schedule/NO/BODY")["scheduled"] is False


def test_health_is_live_and_ready(recorded: Recorded) -> None:
    assert recorded.worker.get("/health/live") == {"live": True}
    ready = recorded.worker.get("/health/ready")
    assert (ready["ready"], ready["reasons"]) == (True, [])


def test_metrics_count_what_the_topics_hold(recorded: Recorded) -> None:
    metrics = metrics_of(recorded.worker.port)

    def total(name: str) -> float:
        return sum(v for key, v in metrics.items() if key.split("{")[0] == f"barstream_{name}")

    finals = [bar for file in FILES for bar in in_topic(recorded, file)]
    assert total("bars_final_total") == len(finals)
    assert total("bars_synthetic_total") == sum(bar["synthetic"] for bar in finals)
    assert total("ticks_total") == sum(bar["tick_count"] for bar in finals)
    assert total("ticks_total") + total("ticks_rejected_total") == len(recorded.tick_records)
    assert metrics['barstream_series{kind="historical"}'] == len(FILES)
    assert metrics["barstream_leader"] == metrics["barstream_ready"] == 1
    assert metrics['barstream_bars_final_total{cause="heartbeat"}'] >= len(FILES)
    assert total("lag_records") == 0
    assert total("heartbeats_illegal_total") == total("heartbeats_undecodable_total") == 0


def test_refusals_say_what_is_wrong_and_what_to_do(recorded: Recorded) -> None:
    unknown = recorded.worker.get("/bars/TFX/NOSUCH")
    assert "TFX NOSUCH has no bars: unscheduled" in unknown["error"]
    assert "barstream schedule load" in unknown["what_to_do"]
    wrong = recorded.worker.get("/bars/TFX/USDJPY?timeframe=7m")
    assert (wrong["parameter"], wrong["found"]) == ("timeframe", "'7m'")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.split("-")[0])
def test_the_command_prints_the_bars_of_the_topic(recorded: Recorded, file: RecordedFile) -> None:
    url = f"http://127.0.0.1:{recorded.worker.port}"
    out = recorded.made.run(
        "bars", file.broker, file.symbol, "--from", "2013-01-01", "--json", "--url", url
    )
    printed = [json.loads(line) for line in out.splitlines()]
    assert [{name: bar[name] for name in NAMES} for bar in printed] == in_topic(recorded, file)
    assert {bar["status"] for bar in printed} == {"final"}


def test_an_open_bar_is_shown_while_its_minute_runs(minutes: Minutes) -> None:
    (live,) = minutes.seen_live["bars"]
    assert live["status"] == "live"
    assert live["close_offset"] is None
    assert (live["broker"], live["symbol"], live["synthetic"]) == (BROKER, "STEADY", False)
    start_us = datetime.fromisoformat(live["bucket_start"]).timestamp() * 1e6
    assert start_us == minutes.minute_us
    final = minutes.final_of("STEADY", minutes.minute_us)
    assert 0 < live["tick_count"] < final["tick_count"]
    assert live["open"] == final["open"]
    (merged,) = minutes.seen_bars["bars"]
    assert (merged["bucket_start"], merged["status"]) == (live["bucket_start"], "live")
