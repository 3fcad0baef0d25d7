"""``barstream bars`` against a worker's web server."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from click.testing import CliRunner, Result

from barstream import TimeBucket
from barstream.cli import cli
from barstream.cli.bar_lines import BarLines
from barstream.cli.bars import _is_by_date
from barstream.errors import BarstreamError
from barstream.model.time import MINUTE_US
from barstream.serve.reads import Readiness
from barstream.serve.render import bar_json
from tests.pipeline import free_port

from .conftest import TEN_US, an_hour
from .memory_reads import MemoryReads, make_bar
from .web_worker import WebWorker, web_worker


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["bars", *arguments])


def test_the_latest_bars_are_printed_in_aligned_columns(shared_worker: WebWorker) -> None:
    result = run("fx", "eurusd", "--limit", "3", "--url", shared_worker.url)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "time (UTC)           open     high      low    close   volume  ticks",
        "2024-03-04 10:58  1.10580  1.10630  1.10530  1.10605       10      7",
        "2024-03-04 10:59  1.10590  1.10590  1.10590  1.10590        0      0  no tick",
        "2024-03-04 11:00  1.10700  1.10750  1.10650  1.10725       10      7  ● open",
    ]
    assert "--to 2024-03-04T10:58:00Z" in result.stderr


def test_json_is_one_object_a_line(shared_worker: WebWorker) -> None:
    result = run("FX", "EURUSD", "--limit", "2", "--json", "--url", shared_worker.url)
    bars = [json.loads(line) for line in result.stdout.splitlines()]
    assert [bar["status"] for bar in bars] == ["final", "live"]
    assert bars[0]["bucket_start"] == "2024-03-04T10:59:00Z"


def test_from_gives_every_bar_however_many_pages_it_takes(
    monkeypatch: pytest.MonkeyPatch, shared_worker: WebWorker
) -> None:
    monkeypatch.setattr("barstream.cli.bars.PAGE_LIMIT", 7)
    result = run("FX", "EURUSD", "--from", "2024-03-04", "--json", "--url", shared_worker.url)
    assert len(set(result.stdout.splitlines())) == 61


def test_a_limit_that_leaves_bars_off_says_where_they_go_on(shared_worker: WebWorker) -> None:
    result = run("FX", "EURUSD", "--from", "2024-03-04", "--limit", "5", "--url", shared_worker.url)
    assert len(result.stdout.splitlines()) == 6
    assert "--from 2024-03-04T10:05:00Z" in result.stderr


def test_without_a_worker_the_url_and_the_command_to_start_one_are_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = run("FX", "EURUSD", "--url", url)
    assert result.exit_code == 2
    assert f"{url} (connection refused)" in result.stderr
    assert "barstream worker" in result.stderr


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1", "127.0.0.1:6066", "http://", "http://127.0.0.1:99999", "http://a:b"]
)
def test_what_is_no_url_of_a_worker_is_refused_before_anybody_is_asked(url: str) -> None:
    # by the command and by a program alike
    result = run("FX", "EURUSD", "--url", url)
    assert result.exit_code == 2
    wanted = f"the URL of a worker must be such as http://127.0.0.1:6066, found {url!r}"
    assert wanted in result.stderr
    with pytest.raises(BarstreamError, match=re.escape(wanted)):
        TimeBucket.connect(url)


def test_a_worker_that_hangs_up_without_an_answer_is_told_apart_from_none() -> None:
    def hang_up() -> None:
        for _ in range(2):  # the client tries once more
            with server.accept()[0] as connection:
                connection.recv(1 << 16)  # what is left unread would reset the connection

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(hang_up)
        result = run("FX", "EURUSD", "--url", f"http://127.0.0.1:{server.getsockname()[1]}")
    assert result.exit_code == 2
    assert "(Remote end closed connection without response)" in result.stderr


def test_the_worker_is_found_by_the_settings(
    monkeypatch: pytest.MonkeyPatch, shared_worker: WebWorker
) -> None:
    monkeypatch.setenv("BARSTREAM_WEB_PORT", shared_worker.url.rpartition(":")[2])
    assert run("FX", "EURUSD").exit_code == 0


def test_a_refusal_is_the_workers_own_words(worker: WebWorker) -> None:
    result = run("FX", "USDJPY", "--url", worker.url)
    assert result.exit_code == 2
    assert "barstream schedule load" in result.stderr
    result = run("FX", "EURUSD", "--timeframe", "7m", "--url", worker.url)
    assert "timeframe" in result.stderr
    worker.reads.readiness = Readiness(False, ["restoring"])
    assert "restoring" in run("FX", "EURUSD", "--url", worker.url).stderr


def test_any_worker_answers_for_a_series_of_another(worker: WebWorker) -> None:
    with web_worker(an_hour("USDJPY")) as other:
        worker.reads.partition_of["FX", "USDJPY"] = 3
        worker.reads.holders[3] = other.url
        result = run("FX", "USDJPY", "--json", "--limit", "1", "--url", worker.url)
    assert json.loads(result.stdout)["symbol"] == "USDJPY"
    result = run("FX", "USDJPY", "--url", worker.url)
    assert result.exit_code == 2
    assert f"{other.url} should hold it, it cannot be reached (connection refused)" in result.stderr
    assert "ask again" in result.stderr


def test_bars_of_another_timeframe_are_printed_alike(shared_worker: WebWorker) -> None:
    command = ("fx", "eurusd", "--timeframe", "5m", "--url", shared_worker.url)
    lines = run(*command, "--limit", "3").stdout.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["10:50", "10:55", "11:00"]
    assert lines[1].endswith("revision 1")
    assert len(run(*command, "--from", "2024-03-04", "--json").stdout.splitlines()) == 13
    result = run("fx", "eurusd", "--timeframe", "15m", "--url", shared_worker.url)
    assert "one of 1m, 5m, 1h" in result.stderr


@contextmanager
def following(*arguments: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "barstream", "bars", *arguments, "--follow"]
    with subprocess.Popen(
        command,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TERM": "xterm"},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_follow_prints_each_final_once_and_outlives_a_restart_of_the_worker() -> None:
    reads, port = MemoryReads(), free_port()
    reads.add(make_bar(TEN_US))
    series = ("FX", "EURUSD", "--json", "--url", f"http://127.0.0.1:{port}")
    with ExitStack() as first:
        first.enter_context(web_worker(reads, port))
        with following(*series) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            seen = [json.loads(process.stdout.readline())]
            first.close()
            assert "waiting: no worker answers" in process.stderr.readline()
            reads.add(make_bar(TEN_US + MINUTE_US))
            with web_worker(reads, port):
                seen.append(json.loads(process.stdout.readline()))
    assert [bar["bucket_start"][11:16] for bar in seen] == ["10:00", "10:01"]


def test_on_a_terminal_the_open_bar_is_shown_while_it_moves() -> None:
    reads = MemoryReads()
    reads.add(make_bar(TEN_US), make_bar(TEN_US + MINUTE_US, 1.2, final=False))
    master, slave = pty.openpty()
    with web_worker(reads) as worker, following("FX", "EURUSD", "--url", worker.url, stdout=slave):
        os.close(slave)
        shown = _read_until(master, "1.20025")
        assert "● open" in shown
        bar = reads.open_bars["FX", "EURUSD"][TEN_US + MINUTE_US]
        reads.add(bar.replace(close=1.30001))
        _read_until(master, "1.30001")
    os.close(master)


def _read_until(master: int, wanted: str, deadline_s: float = 20.0) -> str:
    ends, shown = time.monotonic() + deadline_s, ""
    while wanted not in shown:
        assert time.monotonic() < ends, shown
        shown += os.read(master, 65536).decode()
    return shown


def test_an_end_that_is_not_after_the_start_is_refused_by_the_names_of_the_options() -> None:
    result = run("FX", "EURUSD", "--from", "2024-01-02", "--to", "2024-01-02")
    assert result.exit_code == 2
    assert "--from must be before --to" in result.stderr


def test_bars_of_days_and_longer_begin_with_their_trading_date_alone() -> None:
    bar = bar_json(make_bar(TEN_US).replace(tick_count=1_234_567))
    by_date = BarLines([bar], by_date=True)
    assert by_date.header().plain.startswith("trading date     open")
    assert by_date.line(bar).plain.startswith("2024-03-04    1.10000")
    assert by_date.line(bar).plain.endswith("1,234,567")
    assert len(by_date.line(bar).plain) == len(by_date.header().plain)
    assert all(map(_is_by_date, ("1d", "1wk", "1mo")))
    assert not any(map(_is_by_date, ("1m", "4h+1h", "1h@session", "1w")))


def test_a_line_with_its_mark_fits_a_terminal_of_80_columns() -> None:
    bar = bar_json(make_bar(TEN_US, 65199.5, final=False, spread=0.5, volume=1234.5))
    lines = BarLines([bar])
    assert len(lines.line(bar).plain) <= 80


def test_the_vwap_is_printed_where_the_terminal_has_room_for_it() -> None:
    bars = [
        bar_json(make_bar(TEN_US, 1.5)),
        bar_json(make_bar(TEN_US, 1.5, synthetic=True)),
        bar_json(make_bar(TEN_US, 1.5, final=False)),
    ]
    narrow, wide = BarLines(bars), BarLines(bars, columns=86)
    assert "vwap" not in narrow.header().plain
    assert wide.header().plain.split()[-2:] == ["vwap", "ticks"]
    assert [wide.line(bar).plain.split()[7] for bar in bars] == ["1.50000", "0", "1.50000"]
    assert max(len(wide.line(bar).plain) for bar in bars) == 86
    assert len(wide.line(bars[0]).plain) == len(wide.header().plain)
    assert "vwap" not in BarLines(bars, columns=85).header().plain


def test_an_open_bar_has_the_decimals_of_those_that_are_closed() -> None:
    closed = bar_json(make_bar(TEN_US, 1.5, volume=1234.5))
    zero = bar_json(make_bar(TEN_US, 1.5, volume=0.0))
    open_yet = bar_json(make_bar(TEN_US, 1.5, final=False, volume=12.3456789))
    lines = BarLines([closed, zero, open_yet])
    assert [lines.line(bar).plain.split()[6] for bar in (closed, zero, open_yet)] == [
        "1,234.5", "0.0", "12.3",
    ]  # fmt: skip
    assert BarLines([open_yet]).line(open_yet).plain.split()[6] == "12.3456789"
