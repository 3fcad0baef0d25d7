"""Every block of the README does what the README says: run as they stand, one after the other.

What is replaced: the addresses of Kafka and of the page, by those of this test, and the date, by
one that a calendar reaches without being told dates.  What runs until Ctrl-C is interrupted.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import tomllib
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final

import pytest

from barstream.model.key import series_key
from tests.functional.tick_records import feed
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import ROOT, until
from tests.sandbox.test_procfile import two_free_ports

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (ROOT / ".venv" / "bin" / "barstream").exists(),
        reason="the README runs what `make install` makes in .venv",
    ),
]

_FENCED: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS: Final = _FENCED.findall((ROOT / "README.md").read_text(encoding="utf-8"))
WITHIN_S: Final = 120.0
STOP_WITHIN_S: Final = 30.0
ADDRESS: Final = re.compile(r"http://127\.0\.0\.1:\d+/\S*")


def block(begin: str) -> str:
    """The one block whose first line begins so."""
    (found,) = [text for _, text in BLOCKS if text.startswith(begin)]
    return str(found)


@dataclass
class Reader:
    """Somebody who copies blocks into a shell, in a checkout of their own."""

    place: Path
    replaced: Sequence[tuple[str, str]] = ()

    def text(self, block: str) -> str:
        """The block with what is replaced in it."""
        for old, new in self.replaced:
            block = block.replace(old, new)
        return block

    @contextmanager
    def runs(self, block: str, **env: str) -> Iterator[subprocess.Popen[str]]:
        """The block in a shell; interrupted at the end, which must come in good order."""
        ours = ("BARSTREAM_", "PYTEST_")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        with (self.place / "said").open("w") as said:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", self.text(block)],
                cwd=self.place, env=kept | env, text=True, start_new_session=True,
                stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            yield process
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            process.wait(STOP_WITHIN_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def run(self, block: str, **env: str) -> str:
        """Run a block to its end, which must be a good one; what it said."""
        with self.runs(block, **env) as process:
            process.wait(WITHIN_S)
        assert process.returncode == 0, self.said
        return self.said

    def wait_for(self, process: subprocess.Popen[str], sign: re.Pattern[str]) -> re.Match[str]:
        """Until it has said this."""

        def found() -> re.Match[str] | None:
            return sign.search(self.said)

        until(lambda: found() is not None or process.poll() is not None, WITHIN_S, sign.pattern)
        match = found()
        assert match is not None, self.said
        return match

    @property
    def said(self) -> str:
        return (self.place / "said").read_text()


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """In a directory that looks like the checkout and may be written to."""
    stale = subprocess.run(
        ["make", "-q", ".venv/.ready"], cwd=ROOT, check=False, capture_output=True
    )
    if stale.returncode:
        pytest.skip("`make install` would make the environment of this very run anew: run it first")
    for entry in ROOT.iterdir():
        if entry.name not in {".git", "barstream-data", "barstream.toml"}:
            (tmp_path / entry.name).symlink_to(entry)
    return Reader(tmp_path)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())


def test_every_block_is_run_here() -> None:
    languages = [language for language, _ in BLOCKS]
    assert languages == ["sh", "sh", "sh", "toml", "sh", "sh", "sh", "python"]


def test_the_demo_ends_with_its_address_and_shows_a_market_there(reader: Reader) -> None:
    with reader.runs(block("make demo")) as demo:
        address = reader.wait_for(demo, re.compile(ADDRESS.pattern + r"\n")).group().strip()
        page = address.partition("#")[0]
        assert b"barstream" in get(page)
        listed = json.loads(get(f"{page}series"))["series"]
        assert len(listed) == 6
    assert "everything is stopped" in reader.said


def test_make_test_collects_the_suite(reader: Reader) -> None:
    # the whole of it would run this test as well
    only = "make test ARGS='-n 0 -q --collect-only tests/unit/test_packaging.py'"
    said = reader.run(block("make test").replace("make test", only))
    assert "tests/unit/test_packaging.py" in said


def test_ones_own_file_is_tried_in_one_command(reader: Reader) -> None:
    times = [f"{minute:02}:{second}" for minute in range(10) for second in (10, 40)]
    rows = [f"2024-02-01T10:{at}Z,1.{at.replace(':', '')}" for at in times]
    (reader.place / "ticks.csv").write_text("\n".join(["time,price", *rows]))
    with reader.runs(block("make install")) as trial:
        address = reader.wait_for(trial, re.compile(ADDRESS.pattern + r"\n")).group().strip()
        page, _, shown = address.partition("#")
        broker, symbol, _ = shown.split("/")
        bars = json.loads(get(f"{page}bars/{broker}/{symbol}"))["bars"]
        assert len(bars) >= 9
    assert "Traceback" not in reader.said


def test_ones_own_kafka_from_settings_to_proof(
    reader: Reader, new_kafka: Callable[..., KafkaCluster]
) -> None:
    kafka, port, day = new_kafka(), two_free_ports(), last_trading_date()
    reader.replaced = (
        ("kafka1:9092,kafka2:9092", kafka.bootstrap),
        ("127.0.0.1:6066", f"127.0.0.1:{port}"),
        ("2026-01-05", day.isoformat()),
    )
    settings = reader.text(block("bootstrap ="))
    assert tomllib.loads(settings)["bars"]["schedule"] is True
    (reader.place / "barstream.toml").write_text(settings)
    web = {"BARSTREAM_WEB_PORT": str(port)}
    with reader.runs(block(".venv/bin/barstream topics"), **web):
        until(lambda: is_ready(port) and is_ready(port + 1), WITHIN_S, "both workers are ready")
        asyncio.run(send_quotes(kafka.bootstrap, day))
        shell = Reader(reader.place / "other", reader.replaced)
        shell.place.mkdir()
        for entry in (".venv", "barstream.toml"):
            (shell.place / entry).symlink_to(reader.place / entry)
        follow = block(".venv/bin/barstream bars")
        with shell.runs(follow, **web) as followed:
            shell.wait_for(followed, re.compile(r"08:00.*1\.05"))
        said = shell.run(block("curl"), **web)
        assert '"bucket_start":"' + f"{day}T08:00:00Z" in said
        assert "no differences" in said
        assert "08:00" in said.partition("no differences")[2]
        code = shell.text(block("import asyncio"))
        (shell.place / "read.py").write_text(code)
        table = shell.run(".venv/bin/python read.py")
        assert "shape: (2, 6)" in table, table
        assert f"{day} 08:05:00" in table
    assert "Traceback" not in reader.said


async def send_quotes(bootstrap: str, day: date) -> None:
    """Of the seven minutes from 08:00 on, as the settings of the README say."""
    begin_ms = int(datetime.combine(day, time(8), UTC).timestamp() * 1000)
    async with feed(bootstrap, "ticks") as ticks:
        for second in range(10, 400, 15):
            quote = {"symbol": "EURUSD", "ts": begin_ms + second * 1000, "b": 1.0, "a": 1.1}
            await ticks.record(series_key("FXCM", "EURUSD"), json.dumps(quote).encode())


def last_trading_date() -> date:
    """A weekday of the last week that is over."""
    today = datetime.now(UTC).date()
    return today - timedelta(days=today.weekday() + 6)


def is_ready(port: int) -> bool:
    try:
        return b'"ready":true' in get(f"http://127.0.0.1:{port}/health/ready")
    except OSError:
        return False
