"""The verdict on a run: nothing lost, nothing double, every bar right."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from barstream.codecs.avro.body import decode
from barstream.codecs.topics.series_seen import decode as decode_seen
from barstream.kafka.partitioner import default_partition
from barstream.market.session import SessionRow
from barstream.model.key import series_key
from tests.chaos.truth import problems_of, truth_of
from tests.chaos.writers import batches_of, late_writers
from tests.pipeline import ROOT, Pipeline

MINUTE_US = 60_000_000
Ticks = dict[tuple[str, int], list[tuple[int, int, float, float]]]
"""(event time, offset, price, size) by symbol and minute."""
InSession = Callable[[str, int], bool]


@dataclass
class Verified:
    """What `barstream verify --json` said."""

    code: int = 0
    differences: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    said: str = ""


def verify(made: Pipeline, timeout_s: float = 180) -> Verified:
    """Run it on a pipeline."""
    done = subprocess.run(
        [sys.executable, "-m", "barstream", "verify", "--json", "--processes", "1"],
        cwd=ROOT, env=made.env, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    found = Verified(done.returncode, said=done.stderr[-2000:])
    for line in done.stdout.splitlines():
        if not line.startswith("{"):
            continue
        row = json.loads(line)
        if row.get("type") == "difference":
            found.differences.append(line)
        elif row.get("type") == "summary":
            found.summary = row
    return found


def until_clean(problems: Callable[[], list[str]], timeout_s: float = 60) -> list[str]:
    """What is still wrong after ``timeout_s``; none as soon as nothing is."""
    deadline = time.monotonic() + timeout_s
    while (found := problems()) and time.monotonic() < deadline:
        time.sleep(2)
    return found


def exact_problems(
    made: Pipeline,
    sessions: Sequence[SessionRow] | None,
    names: Sequence[tuple[str, str]],
    elsewhere: Mapping[str, int],
    refused: Mapping[tuple[int, int], str],
) -> list[str]:
    """Against the plain definition of `tests.reference.series`; policy reject, fixed sessions.

    Args:
        made: the pipeline, settled.
        sessions: in force all the time; None: always open.
        names: of the series.
        elsewhere: partition by symbol, where it is not that of the key.
        refused: reason by (partition, offset) of ticks that are refused before they are decoded.
    """
    partitions = made.settings.topics.partitions
    homes = {symbol: default_partition(series_key(b, symbol), partitions) for b, symbol in names}
    return problems_of(made, truth_of(made, sessions, {**homes, **elsewhere}, refused))


def one_writer(made: Pipeline) -> list[str]:
    """Batches that an owner wrote after another had taken over."""
    names = made.names
    topics = (names.final_1m, names.live_1m, names.ticks_rejected, names.series, names.heartbeats)
    return [
        f"{topic}: {late}" for topic in topics for late in late_writers(batches_of(made, topic))
    ]


def accounting(made: Pipeline, sent: int, in_session: InSession | None) -> list[str]:
    """Every tick is in Kafka, and in one bar or in ``ticks_rejected``, once.

    Args:
        made: the pipeline, settled.
        sent: how many ticks were acknowledged.
        in_session: of (symbol, event time); None: not known, as the schedule was changed.
    """
    ticks = made.read(made.names.ticks)
    problems = []
    if len(ticks) < sent:
        problems.append(f"{sent} ticks were acknowledged, Kafka has {len(ticks)}")
    rejected = Counter(
        (int(record.headers["partition"]), int(record.headers["offset"]))
        for record in made.rejected()
    )
    problems += [
        f"rejected {place} {count} times" for place, count in rejected.items() if count > 1
    ]
    wanted: Ticks = defaultdict(list)
    for record in ticks:
        if (record.partition, record.offset) in rejected:
            continue
        try:
            tick = decode("tick", record.value or b"")
        except ValueError:
            problems.append(f"tick {record.partition}:{record.offset} in no bar and not rejected")
            continue
        time_us = _us(tick["time"])
        if in_session is None or in_session(tick["symbol"], time_us):
            row = (time_us, record.offset, tick["price"], tick["size"])
            wanted[tick["symbol"], time_us // MINUTE_US * MINUTE_US].append(row)
    return problems + _compare(wanted, standing_bars(made), exact=in_session is not None)


def session_test(sessions: Sequence[SessionRow] | None) -> InSession:
    """Whether a tick is in session; None: always."""
    if sessions is None:
        return lambda symbol, time_us: True
    rows: defaultdict[str, list[SessionRow]] = defaultdict(list)
    for row in sessions:
        rows[row.symbol].append(row)
    return lambda symbol, time_us: any(r.open_us <= time_us < r.close_us for r in rows[symbol])


def standing_bars(made: Pipeline) -> dict[tuple[str, int], dict[str, Any]]:
    """The newest version of every final of a minute."""
    return {(bar["symbol"], int(bar["bucket_start"])): bar for bar in made.finals()}


def historical(made: Pipeline) -> set[str]:
    """Symbols that the workers do not take for live: the clock closes nothing of them."""
    rows = [
        decode_seen(record.value) for record in made.read(made.names.series_seen) if record.value
    ]
    newest = {row.symbol: row.live for row in rows}
    return {symbol for symbol, live in newest.items() if not live}


def _compare(
    wanted: Ticks, standing: dict[tuple[str, int], dict[str, Any]], *, exact: bool
) -> list[str]:
    last: dict[str, int] = {}
    for symbol, minute in standing:
        last[symbol] = max(last.get(symbol, minute), minute)
    problems = []
    for (symbol, minute), rows in wanted.items():
        if minute > last.get(symbol, -1):
            continue  # open yet
        bar = standing.get((symbol, minute))
        count = 0 if bar is None else bar["tick_count"]
        if count > len(rows) or (exact and count != len(rows)):
            problems.append(f"{symbol} {minute}: {count} ticks, expected {len(rows)}")
        elif bar is not None and count == len(rows):
            problems += _values(symbol, minute, sorted(rows), bar)
    return problems


def _values(
    symbol: str, minute: int, rows: list[tuple[int, int, float, float]], bar: dict[str, Any]
) -> list[str]:
    prices = [price for _, _, price, _ in rows]
    seen = (bar["open"], bar["high"], bar["low"], bar["close"], bar["volume"])
    volume = math.fsum(size for *_, size in rows)
    expected = (prices[0], max(prices), min(prices), prices[-1], volume)
    return [] if seen == expected else [f"{symbol} {minute}: expected {expected}, found {seen}"]


def _us(value: Any) -> int:
    return value if isinstance(value, int) else round(value.timestamp() * 1e6)
