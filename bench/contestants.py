"""Who is compared: barstream and its peers, each started, followed and stopped in the same way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl
import pyruhvro

from barstream.codecs.avro.body import load_schema, without_logical_types
from bench.broker import Broker
from bench.oracle import VALUES
from bench.peers.catalogue import PEERS, Peer
from bench.peers.records import BAR_SCHEMA
from bench.tape import Shape, write_schedule
from bench.topic_log import Record, TopicLog, directory_bytes
from tests.pipeline import ROOT, Pipeline

_READY_S: Final = 120.0
_STOP_S: Final = 30.0
_ROWS: Final = 200_000
_COLUMNS: Final = {
    "series": pl.Int64, "bucket": pl.Int64, **dict.fromkeys(VALUES[:-1], pl.Float64),
    "tick_count": pl.Int64, "readable_us": pl.Int64,
}  # fmt: skip


class ContestantFailed(RuntimeError):
    """It ended, or did not begin; look at the end of its log, which the message has."""


@dataclass(frozen=True)
class Site:
    """Where a contestant runs once.

    Attributes:
        name: its application id; every topic of its own has this in its name.
        directory: of its own.
        core: that it is pinned to.
        ticks: the topic.
    """

    broker: Broker
    name: str
    directory: Path
    core: int
    ticks: str
    partitions: int
    shape: Shape
    grace_us: int

    @property
    def state(self) -> Path:
        """Of its local state."""
        return self.directory / "state"


@dataclass
class Running:
    """A contestant that has its partitions.

    Attributes:
        at_ms: since when it is followed.
        taken: ticks that it had applied by then.
    """

    processes: list[subprocess.Popen[bytes]]
    logs: list[Path]
    at_ms: float = 0.0
    taken: int = 0

    @property
    def pids(self) -> list[int]:
        """Of its processes, without their children."""
        return [each.pid for each in self.processes]

    def raise_if_ended(self) -> None:
        """Raise `ContestantFailed` when one of its processes is no more."""
        for process, log in zip(self.processes, self.logs, strict=True):
            if process.poll() is not None:
                raise ContestantFailed(
                    f"it must run until it is stopped, and ended with {process.returncode}: "
                    f"{tail(log)}"
                )

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to what is left after half a minute."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + _STOP_S
        for process in self.processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                # each is the leader of a group of its own
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


class Contestant(ABC):
    """One of those that are compared.

    Attributes:
        name: for the command line; title: for a person.
        note: what it does more or less than the others.
        schema: of the values of its bars.
        has_fills: its bars have no gaps, and exact volumes.
        has_live, has_finals: which kinds of bars it writes; has_sessions: it knows of them.
    """

    name: str
    title: str
    note: str
    schema: Mapping[str, Any]
    has_fills: bool = False
    has_live: bool = True
    has_finals: bool = True
    has_sessions: bool = False

    @abstractmethod
    def prepare(self, site: Site) -> None:
        """Make its topics, and what else must be there before it starts."""

    @abstractmethod
    def start(self, site: Site) -> Running:
        """Start it and wait until it has its partitions."""

    @abstractmethod
    def topic(self, site: Site, kind: Literal["live", "final"]) -> str:
        """Of its bars."""

    def replay(self, site: Site) -> tuple[subprocess.Popen[bytes], Path] | None:
        """Start what derives its bars anew, and where that says what; None: it runs once more."""
        del site
        return None


class Barstream(Contestant):
    """A worker with its default settings, but for ``options``."""

    has_fills = True
    has_sessions = True

    def __init__(self, name: str, title: str, note: str, **options: str) -> None:
        self.name, self.title, self.note = name, title, note
        self.schema = load_schema("bar")
        self._options = options

    def pipeline(self, site: Site) -> Pipeline:
        """Its settings."""
        given = {
            "TOPICS__TICKS": site.ticks,
            "BARS__GRACE_S": str(site.grace_us / 1e6),
            "BARS__SCHEDULE": str(site.shape.has_sessions).lower(),
            **self._options,
        }
        return Pipeline(site.broker.bootstrap, site.name, site.directory, given)

    def prepare(self, site: Site) -> None:
        """Topics, and the schedule of a shape that has one."""
        made = self.pipeline(site)
        made.run("topics", "create")
        if site.shape.has_sessions:
            made.run(
                "schedule", "load", *write_schedule(site.directory / "schedule.csv", site.shape)
            )

    def start(self, site: Site) -> Running:
        """One worker; ticks it took before it said that it is ready are left out."""
        return self.start_worker(self.pipeline(site), site.core, site.state.name)

    @staticmethod
    def start_worker(made: Pipeline, core: int, state: str) -> Running:
        """Start a worker of a pipeline with a state directory of its own."""
        try:
            worker = made.worker(directory=state, prefix=pinned(core))
            taken = int(worker.get("/status")["ticks"])
        except (AssertionError, OSError) as error:
            for each in made.workers:
                each.kill()
            raise ContestantFailed(f"it did not become ready: {error}") from error
        return Running([worker.process], [worker.log], time.time() * 1000, taken)

    def topic(self, site: Site, kind: Literal["live", "final"]) -> str:
        """``rate_1m_live`` or ``rate_1m_final``."""
        names = self.pipeline(site).names
        return names.live_1m if kind == "live" else names.final_1m

    def replay(self, site: Site) -> tuple[subprocess.Popen[bytes], Path]:
        """``barstream replay``, which also compares what comes out with what is published."""
        log = site.directory / "replay.log"
        command = [
            sys.executable, "-m", "barstream", "replay", "--suffix", "again", "--processes", "1",
        ]  # fmt: skip
        return spawn([*pinned(site.core), *command], log, self.pipeline(site).env), log


class PeerProgram(Contestant):
    """A program of `bench.peers`."""

    def __init__(self, peer: Peer) -> None:
        self.schema = json.loads(BAR_SCHEMA.read_bytes())
        self.name, self.title, self.note = peer.name, peer.title, peer.note
        self._peer = peer
        self.has_live = peer.emits == "live"
        self.has_finals = not self.has_live

    def prepare(self, site: Site) -> None:
        """The topic of its bars."""
        site.broker.create(self.topic(site, "final"), site.partitions)

    def start(self, site: Site) -> Running:
        """One process; it says when it has its partitions."""
        command = self._peer.arguments(
            bootstrap=site.broker.bootstrap, ticks=site.ticks, bars=self.topic(site, "final"),
            app_id=site.name, state=site.state, grace_ms=site.grace_us // 1000,
        )  # fmt: skip
        site.state.mkdir()
        log = site.directory / "peer.log"
        process = spawn([*pinned(site.core), *command], log, os.environ)
        running = Running([process], [log])
        deadline = time.monotonic() + _READY_S
        try:
            while (at_ms := _assigned_ms(log)) is None:
                running.raise_if_ended()
                _raise_if_past(deadline, log)
                time.sleep(0.05)
        except BaseException:
            running.stop()
            raise
        running.at_ms = at_ms
        return running

    def topic(self, site: Site, kind: Literal["live", "final"]) -> str:
        """One for both."""
        del kind
        return f"{site.name}-bars"


@dataclass
class BarLog:
    """The bars of a topic, read as they come; ``rows`` has `_COLUMNS`, in the order of the log."""

    log: TopicLog
    schema: Mapping[str, Any]
    _parts: list[pl.DataFrame] = field(default_factory=list)

    def read_on(self) -> None:
        """Read what came since."""
        text = json.dumps(without_logical_types(dict(self.schema)))
        kept = (record for record in self.log.read() if record.value is not None)
        while records := list(islice(kept, _ROWS)):
            self._parts.append(_columns(records, text))

    @property
    def rows(self) -> pl.DataFrame:
        """All that was read."""
        return pl.concat([pl.DataFrame(schema=_COLUMNS), *self._parts])

    @property
    def last(self) -> pl.DataFrame:
        """The last record of each bar."""
        return self.rows.unique(["series", "bucket"], keep="last", maintain_order=True)


def bar_log(contestant: Contestant, site: Site, kind: Literal["live", "final"]) -> BarLog:
    """Of one of a contestant's topics."""
    return BarLog(TopicLog(site.broker.data, contestant.topic(site, kind)), contestant.schema)


def bytes_written(site: Site) -> tuple[int, int]:
    """By a contestant to all its topics, and in its local state."""
    return site.broker.bytes_written(site.name), directory_bytes(site.state)


def contestants() -> dict[str, Contestant]:
    """All of them, in the order of the table."""
    found: list[Contestant] = [
        Barstream("barstream", "barstream", "1m and four roll-ups, live and final, no gaps"),
        Barstream("barstream-1m", "barstream, 1m alone", "no roll-ups", BARS__TIMEFRAMES="1m"),
    ]
    return {each.name: each for each in [*found, *map(PeerProgram, PEERS.values())]}


def pinned(core: int) -> tuple[str, ...]:
    """What a command begins with that is to run on one core."""
    return ("taskset", "-c", str(core))


def spawn(command: Sequence[str], log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A process in a group of its own, all it prints in one file."""
    with log.open("wb") as out:
        return subprocess.Popen(
            command, cwd=ROOT, env=dict(env), stdout=out, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip


def tail(log: Path, lines: int = 15) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _raise_if_past(deadline: float, log: Path) -> None:
    if time.monotonic() > deadline:
        raise ContestantFailed(
            f"it must say within {_READY_S:.0f} s that it has its partitions, and has not: "
            f"{tail(log)}"
        )


def _assigned_ms(log: Path) -> float | None:
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{") and '"assigned"' in line:
            return float(json.loads(line)["at_ms"])
    return None


def _columns(records: Sequence[Record], schema_text: str) -> pl.DataFrame:
    try:
        batch = pyruhvro.deserialize_array([record.value for record in records], schema_text)
    except ValueError as error:
        raise ContestantFailed(f"its bars must be records of its schema: {error}") from error
    return (
        pl.DataFrame(pl.from_arrow(batch))
        .select(
            series=pl.col("symbol").str.slice(1).cast(pl.Int64),
            bucket=pl.col("bucket_start"),
            **{name: pl.col(name) for name in VALUES},
        )
        .with_columns(
            readable_us=pl.Series([record.readable_ms * 1000 for record in records], dtype=pl.Int64)
        )
        .cast(_COLUMNS)  # type: ignore[arg-type]  # a mapping of types is one of schemas
    )
