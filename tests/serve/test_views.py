"""What the web views answer, asked over HTTP of a real Faust app."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from barstream.client.worker_client import WorkerRefusedError
from barstream.codecs.ticks.series_names import Respelled
from barstream.kafka.consumer_group import Declaration, Member
from barstream.market.schedule import ScheduleIndex, SessionRow
from barstream.model.bar import Bar
from barstream.model.time import MINUTE_US, days_from_iso_date, us_from_iso
from barstream.runtime.agreement import Other, SettingDifference
from barstream.serve.query import CHUNK
from barstream.serve.reads import NotHereError, Readiness, Stats

from .conftest import TEN_US
from .memory_reads import MemoryReads, make_bar
from .web_worker import WebWorker, web_worker


def starts(body: dict[str, Any]) -> list[str]:
    return [bar["bucket_start"][11:16] for bar in body["bars"]]


def test_bars_are_live_and_final_in_order(shared_worker: WebWorker) -> None:
    status, body = shared_worker.get("/bars/FX/EURUSD")
    assert status == 200
    assert len(body["bars"]) == 61
    assert starts(body) == sorted(starts(body))
    assert [bar["status"] for bar in body["bars"]] == ["final"] * 60 + ["live"]
    assert body["truncated"] is False
    assert "next_from" not in body


def test_a_bar_has_the_field_names_of_the_spec_and_times_that_end_in_z(
    shared_worker: WebWorker,
) -> None:
    _, body = shared_worker.get("/bars/FX/EURUSD?limit=1")
    assert body["bars"] == [
        {
            "broker": "FX",
            "symbol": "EURUSD",
            "bucket_start": "2024-03-04T10:00:00Z",
            "trading_date": "2024-03-04",
            "session": 0,
            "open": 1.1,
            "high": 1.1005,
            "low": 1.0995,
            "close": 1.10025,
            "volume": 10.0,
            "turnover": 11.0,
            "vwap": 1.1,
            "tick_count": 7,
            "open_time": "2024-03-04T10:00:00.250000Z",
            "close_time": "2024-03-04T10:00:59.000000Z",
            "synthetic": False,
            "revision": 0,
            "first_offset": 100,
            "last_offset": 106,
            "close_offset": 107,
            "status": "final",
        }
    ]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_following_the_page_marks_gives_every_bar_once(
    shared_worker: WebWorker, order: str
) -> None:
    query, seen = "", []
    while True:
        _, body = shared_worker.get(f"/bars/FX/EURUSD?limit=7&order={order}{query}")
        seen += starts(body)
        if not body["truncated"]:
            break
        query = f"&from={body['next_from']}" if order == "asc" else f"&to={body['next_to']}"
    assert len(seen) == 61
    assert seen == sorted(seen, reverse=order == "desc")
    assert len(set(seen)) == 61


def test_an_answer_longer_than_a_chunk_has_no_seam() -> None:
    reads = MemoryReads()
    count = 2 * CHUNK + 7
    reads.add(*(make_bar(TEN_US + minute * MINUTE_US) for minute in range(count)))
    with web_worker(reads) as worker:
        for order in ("asc", "desc"):
            _, body = worker.get(f"/bars/FX/EURUSD?limit=10000&order={order}")
            assert len({bar["bucket_start"] for bar in body["bars"]}) == count
            assert body["truncated"] is False
            _, body = worker.get(f"/bars/FX/EURUSD?limit={2 * CHUNK}&order={order}")
            assert len({bar["bucket_start"] for bar in body["bars"]}) == 2 * CHUNK
            assert body["truncated"] is True


def test_from_is_floored_to_its_minute_and_to_is_exclusive(shared_worker: WebWorker) -> None:
    # 10:04      10:05      10:06      10:07
    #   |----------|--from----|----------|to
    _, body = shared_worker.get("/bars/FX/EURUSD?from=2024-03-04T10:05:30Z&to=2024-03-04T10:07:00Z")
    assert starts(body) == ["10:05", "10:06"]


def test_an_offset_whose_plus_was_not_escaped_is_understood(shared_worker: WebWorker) -> None:
    _, body = shared_worker.get(
        "/bars/FX/EURUSD?from=2024-03-04T12:05:00+02:00&to=2024-03-04T10:06"
    )
    assert starts(body) == ["10:05"]


def test_names_are_normalised_and_may_hold_a_slash() -> None:
    reads = MemoryReads()
    reads.add(make_bar(TEN_US, symbol="EUR/USD"))
    with web_worker(reads) as worker:
        status, body = worker.get("/bars/fx/%20eur%2Fusd")
        assert (status, body["symbol"], len(body["bars"])) == (200, "EUR/USD", 1)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=ten", "limit"),
        ("limit=-1", "limit"),
        ("limit=1&limit=2", "limit"),
        ("from=yesterday", "from"),
        ("to=99999-01-01", "to"),
        ("from=2024-03-04&to=2024-03-04", "from"),
        ("order=up", "order"),
        ("form=2024-03-04", "form"),
    ],
)
def test_a_parameter_that_cannot_be_meant_is_refused_by_name(
    shared_worker: WebWorker, query: str, parameter: str
) -> None:
    status, body = shared_worker.get(f"/bars/FX/EURUSD?{query}")
    assert status == 400
    assert body["parameter"] == parameter
    assert body["required"]
    assert body["found"]
    assert parameter in body["error"]


def test_bars_of_every_timeframe_of_the_pipeline_are_answered(shared_worker: WebWorker) -> None:
    status, body = shared_worker.get("/bars/FX/EURUSD?timeframe=5m")
    assert (status, body["timeframe"], len(body["bars"])) == (200, "5m", 13)
    assert [bar["status"] for bar in body["bars"]] == ["final"] * 12 + ["live"]
    assert [bar["revision"] for bar in body["bars"]] == [0] * 10 + [1, 0, 0]
    _, body = shared_worker.get("/live/FX/EURUSD?timeframe=5m")
    assert (body["timeframe"], starts(body)) == ("5m", ["11:00"])
    # one that could be added, one that no grid has, and one that is none: which there are is told
    for asked in ("15m", "7m", "1w"):
        status, body = shared_worker.get(f"/bars/FX/EURUSD?timeframe={asked}")
        required = "one of 1m, 5m, 1h (bars.timeframes adds others)"
        assert (status, body["required"]) == (400, required)
        assert body["error"] == f"timeframe must be {required}, found {asked!r}"
    assert shared_worker.get("/status")[1]["timeframes"] == ["1m", "5m", "1h"]


def test_from_means_the_bucket_it_lies_in(shared_worker: WebWorker) -> None:
    # 10:00      10:05       10:10      10:15
    #   |----------|--from-----|----------|to
    span = "from=2024-03-04T10:08:00Z&to=2024-03-04T10:15:00Z"
    _, body = shared_worker.get(f"/bars/FX/EURUSD?timeframe=5m&{span}")
    assert starts(body) == ["10:05", "10:10"]


def test_empty_parameters_are_as_good_as_none(shared_worker: WebWorker) -> None:
    status, body = shared_worker.get("/bars/FX/EURUSD?timeframe=1m&from=&to=&limit=&order=")
    assert (status, len(body["bars"])) == (200, 61)


def test_live_answers_the_open_bars_only(shared_worker: WebWorker) -> None:
    _, body = shared_worker.get("/live/fx/eurusd")
    assert starts(body) == ["11:00"]


def session_row(symbol: str) -> SessionRow:
    return SessionRow(
        "FX",
        symbol,
        days_from_iso_date("2024-03-04"),
        0,
        us_from_iso("2024-03-03T22:00:00Z"),
        us_from_iso("2024-03-04T22:00:00Z"),
    )


def test_an_unknown_series_says_whether_a_schedule_or_a_tick_is_missing(
    worker: WebWorker,
) -> None:
    worker.reads.index = ScheduleIndex.build([session_row("GBPUSD")])
    status, body = worker.get("/bars/FX/GBPUSD")
    assert (status, body["why"]) == (404, "no tick seen yet")
    status, body = worker.get("/live/FX/USDJPY")
    assert (status, body["why"]) == (404, "unscheduled")
    assert "barstream schedule load" in body["what_to_do"]


@pytest.mark.parametrize("path", ["/bars/FX/GBPUSX", "/live/FX/GBPUSX", "/where/FX/GBPUSX"])
def test_a_series_misspelt_is_asked_for(worker: WebWorker, path: str) -> None:
    worker.reads.index = ScheduleIndex.build([session_row("GBPUSD")])
    status, body = worker.get(path)
    assert (status, body["similar"]) == (404, ["FX GBPUSD"])
    assert "did you mean FX GBPUSD?" in body["error"]
    told = str(WorkerRefusedError(status, body))
    assert "did you mean FX GBPUSD? If it is spelled right (GET /series lists all" in told


def test_nothing_is_read_from_a_worker_that_recovers(worker: WebWorker) -> None:
    worker.reads.readiness = Readiness(
        False, ["restoring rate_1m_final[0]"], {"rows_remaining": 1200}
    )
    paths = ("/bars/FX/EURUSD", "/live/FX/EURUSD", "/series", "/schedule/FX/EURUSD", "/bars")
    for path in (*paths, "/bars/FX", "/live", "/live/FX", "/where/FX/NO"):
        status, body = worker.get(path)
        assert status == 503
        assert body["reasons"] == ["restoring rate_1m_final[0]"]
        assert body["progress"] == {"rows_remaining": 1200}
    assert worker.get("/health/ready") == (
        503,
        {
            "ready": False,
            "reasons": ["restoring rate_1m_final[0]"],
            "progress": {"rows_remaining": 1200},
        },
    )
    assert worker.get("/health/live") == (200, {"live": True})
    status, body = worker.get("/status")
    assert (status, body["ready"]) == (200, False)


def test_the_status_names_both_spellings_of_a_series(worker: WebWorker) -> None:
    found = Respelled(("X", "BCPC"), ("x", "BCPC"), ("x", "BCpC"))
    worker.reads.numbers = Stats("b", leader=True, respelled=[found])
    assert worker.get("/status")[1]["respelled"] == [
        {
            "broker": "X",
            "symbol": "BCPC",
            "spellings": [{"broker": "x", "symbol": "BCPC"}, {"broker": "x", "symbol": "BCpC"}],
        }
    ]


def test_the_status_says_who_else_is_in_the_group_and_what_differs(worker: WebWorker) -> None:
    declared = Declaration("1.1", {"bars.grace_s": "7.0"})
    there = Member("b-there-2", "/10.0.0.2", "http://10.0.0.2:6066", declared)
    differing = Other(there, (SettingDifference("bars.grace_s", "5.0", "7.0"),))
    old = Other(Member("b-old-3", "/10.0.0.3"), ())
    worker.reads.numbers = Stats("b", leader=True, version="1.0", others=[differing, old])
    status = worker.get("/status")[1]
    assert status["version"] == "1.0"
    assert status["other_workers"] == [
        {
            "url": "http://10.0.0.2:6066",
            "client": "b-there-2",
            "version": "1.1",
            "settings": "other",
            "differences": [{"setting": "bars.grace_s", "here": "5.0", "there": "7.0"}],
        },
        {
            "url": None,
            "client": "b-old-3",
            "version": None,
            "settings": "unknown",
            "differences": [],
        },
    ]


def test_readiness_follows_the_engine(shared_worker: WebWorker) -> None:
    assert shared_worker.get("/health/ready")[0] == 200


def test_the_schedule_shows_sessions_and_its_own_truncation(worker: WebWorker) -> None:
    rows = [
        replace(
            session_row("EURUSD"),
            trading_date=19_786 + day,
            open_us=TEN_US + day * 1440 * MINUTE_US,
            close_us=TEN_US + (day * 1440 + 60) * MINUTE_US,
            close_tolerance_us=day * 1_500_000,
        )
        for day in range(5)
    ]
    worker.reads.index = ScheduleIndex.build(rows)
    span = "from=2024-03-01&to=2024-04-01"
    _, body = worker.get(f"/schedule/fx/eurusd?{span}&limit=2")
    assert body["scheduled"] is True
    assert body["sessions"][0] == {
        "trading_date": "2024-03-04",
        "session": 0,
        "open": "2024-03-04T10:00:00.000000Z",
        "close": "2024-03-04T11:00:00.000000Z",
    }
    assert body["sessions"][1]["close_tolerance_s"] == 1.5
    assert body["truncated"] is True
    _, rest = worker.get(f"/schedule/fx/eurusd?from={body['next_from']}&to=2024-04-01")
    assert len(body["sessions"]) + len(rest["sessions"]) == 5
    _, body = worker.get("/schedule/FX/USDJPY")
    assert body["scheduled"] is False
    assert "barstream schedule load" in body["what_to_do"]


@pytest.mark.parametrize("path", ["/table/", "/router/", "/stats/", "/graph/", "/performance/"])
def test_faust_serves_nothing_of_its_own(shared_worker: WebWorker, path: str) -> None:
    status, body = shared_worker.get(path)
    assert status == 404
    assert path in body["error"]


def test_other_methods_are_refused_in_json(shared_worker: WebWorker) -> None:
    assert shared_worker.get("/bars/FX/EURUSD", method="DELETE")[0] == 405


@pytest.mark.parametrize(
    "path",
    ["/status", "/bars/X/NONE", "/bars/FXCM/EURUSD?limit=none", "/nothing", "/health/live"],
)
def test_json_is_a_line_of_text(shared_worker: WebWorker, path: str) -> None:
    """Errors too: the prompt of a shell would stand behind them."""
    assert shared_worker.raw(path)[2].endswith(b"}\n")
    assert shared_worker.raw(path)[2].count(b"\n") == 1


def test_an_error_of_the_worker_is_json_too(
    worker: WebWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(worker.reads, "live", broken)
    status, body = worker.get("/live/FX/EURUSD")
    assert status == 500
    assert "disk on fire" not in body["error"]


def test_metrics_are_prometheus_text_brought_up_to_date_at_the_scrape(worker: WebWorker) -> None:
    worker.metrics.before_scrape.append(lambda: worker.metrics.series.labels("live").set(3))
    worker.get("/bars/FX/EURUSD?limit=0")
    status, headers, body = worker.raw("/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=")
    text = body.decode()
    assert 'barstream_series{kind="live"} 3.0' in text
    assert 'path="/bars/{broker}/{symbol}",status="400"} 1.0' in text


def test_no_other_site_may_read(shared_worker: WebWorker) -> None:
    _, headers, _ = shared_worker.raw("/series", headers={"Origin": "https://example.org"})
    assert "Access-Control-Allow-Origin" not in headers


class LostWhileRead(MemoryReads):
    """Its partition goes to another worker after the first piece."""

    def bars(self, *args: Any, **kwargs: Any) -> Sequence[Bar]:
        if self.numbers.ticks:
            raise NotHereError
        self.numbers = replace(self.numbers, ticks=1)
        return super().bars(*args, **kwargs)


def test_a_partition_lost_while_it_is_read_gives_no_half_an_answer() -> None:
    reads = LostWhileRead()
    reads.add(*(make_bar(TEN_US + n * MINUTE_US) for n in range(2 * CHUNK)))
    with web_worker(reads) as worker:
        status, body = worker.get(f"/bars/FX/EURUSD?limit={2 * CHUNK}")
    assert status == 503
    assert body["what_to_do"] == "ask again"
    assert "bars" not in body


def test_an_answer_says_from_when_on_bars_are_kept(worker: WebWorker) -> None:
    """Minutes before it had bars that retention has deleted; they were not empty."""
    _, body = worker.get("/bars/FX/EURUSD?limit=1")
    assert body["retained_from"] is None
    worker.reads.retained["FX", "EURUSD"] = TEN_US
    _, body = worker.get("/bars/FX/EURUSD?limit=1&from=2024-03-04T09:00:00Z")
    assert body["retained_from"] == "2024-03-04T10:00:00Z"
