"""What two versions make of the same ticks, heartbeats and sessions: every topic, byte for byte.

``python -m tests.upgrade.outputs COMMIT [COMMIT]`` has a worker of each commit (the second is by
default the work tree) take the same feed, step by step: ticks are sent when the heartbeats before
them have been used, and the other way round.  Else a heartbeat would close wherever it meets its
partition, which is the machine's.  A change that is to move code and nothing else leaves no
difference.

How often a bar was shown while it was open, how many late ticks made one revision, and when state
was written follows from the machine: of each key the last record is compared, of rejected ticks
all.  Turnover is left out: there are versions without, and one that adds it changes nothing else.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from barstream.codecs.avro.body import encode
from barstream.codecs.topics.bar import decode_row
from barstream.codecs.topics.heartbeat import HeartbeatRecord
from barstream.codecs.topics.heartbeat import encode as encode_heartbeat
from barstream.codecs.topics.row_version import ROW_VERSION
from barstream.codecs.topics.rules import decode_rules, encode_rules, is_rules_key
from barstream.codecs.topics.state import (
    POSITION_KEY,
    decode_position,
    decode_series,
    encode_position,
)
from barstream.codecs.topics.withdrawal import (
    decode_withdrawal,
    encode_withdrawal,
    is_withdrawal_key,
)
from tests.functional.records import Out, end_offset, send
from tests.functional.tick_records import MINUTE_US, SECOND_US, Tick
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import ROOT, Pipeline, until
from tests.upgrade.source_tree import source_tree

PARTITIONS: Final = 4
OPTIONS: Final = {
    "TOPICS__PARTITIONS": str(PARTITIONS),
    "TOPICS__RETENTION_DAYS": "36500",
    "TOPICS__TICKS_RETENTION_DAYS": "36500",
    "HEARTBEATS__ENABLED": "false",
}
#: A Monday, 2024-01-08 06:00 UTC.
BEGIN_US: Final = 1_704_693_600 * SECOND_US
#: Open all day, and open for a few hours with a lunch break.
SYMBOLS: Final = (*(f"ALL{at:02}" for at in range(24)), *(f"DAY{at:02}" for at in range(24)))
MINUTES: Final = 600
STEP: Final = 20
#: Topics that are copied, by their logical names.
INPUTS: Final = {"ticks", "heartbeats", "market_schedule"}
#: What a worker is told in each of its lives, which is what changes its rules.
LIVES: Final[tuple[dict[str, str], ...]] = (
    {"BARS__LATE_POLICY": "revise"},
    {"BARS__LATE_POLICY": "reject", "BARS__GRACE_S": "20"},
)

_NO_TURNOVER: Final = {"turnover": None, "vwap": None, "turnover_exact": None}

Found = dict[tuple[int, bytes | None], list[tuple[bytes | None, dict[str, bytes]]]]
"""By partition and key, in order: values and headers."""


def sessions(directory: Path) -> Path:
    """Sessions of `SYMBOLS` as a file."""
    file = directory / "sessions.csv"
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["broker", "symbol", "trading_date", "session", "open", "close"])
        for symbol in SYMBOLS:
            hours = [("00", "24")] if symbol.startswith("ALL") else [("07", "11"), ("12", "15")]
            for day, following in (("2024-01-08", "2024-01-09"), ("2024-01-09", "2024-01-10")):
                for number, (begin, end) in enumerate(hours):
                    close = f"{following}T00:00:00Z" if end == "24" else f"{day}T{end}:00:00Z"
                    rows.writerow(["B", symbol, day, number, f"{day}T{begin}:00:00Z", close])
    return file


def home(symbol: str) -> int:
    """The partition of a symbol."""
    return int(symbol[3:]) % PARTITIONS


def minute(at: int, chance: random.Random) -> Iterator[Out]:
    """What a feed sends in a minute: few ticks or many, late ones, garbage, strangers."""
    begin_us = BEGIN_US + at * MINUTE_US
    for symbol in SYMBOLS:
        for _ in range(chance.choice((0, 0, 1, 3, 8))):
            late_us = chance.choice((0,) * 12 + (5, 30, 400, 4000)) * SECOND_US
            time_us = begin_us + chance.randrange(MINUTE_US) - late_us
            price, size = chance.randrange(8000, 12000) / 100, chance.randrange(200) / 8
            tick = Tick("B", symbol, max(BEGIN_US, time_us), price, size)
            # of two partitions at once whichever is heard of first would be the home
            stray = at >= STEP and chance.random() < 0.002
            yield Out.of(tick, (home(symbol) + stray) % PARTITIONS)
    if chance.random() < 0.3:
        yield Out(b"?", chance.randbytes(20), chance.randrange(PARTITIONS))
    if chance.random() < 0.1:
        yield Out.of(Tick("B", "NOBODY", begin_us, 1.0), chance.randrange(PARTITIONS))


def beats(at: int, ends: dict[int, int], symbols: Iterable[str]) -> list[Out]:
    """Heartbeats of a minute: what was sent before them closes it."""
    minute_us = BEGIN_US + at * MINUTE_US
    records = [
        HeartbeatRecord("B", symbol, minute_us, ends[home(symbol)], minute_us + MINUTE_US, "loader")
        for symbol in symbols
    ]
    return [Out(each.key, encode_heartbeat(each), home(each.symbol)) for each in records]


def feed(made: Pipeline, first: int, last: int, seed: int) -> None:
    """Minutes [``first``, ``last``) of a feed, and heartbeats for many of them, in steps."""
    chance = random.Random(f"{seed}/{first}")
    for begin in range(first, last, STEP):
        send(made, [out for at in range(begin, begin + STEP) for out in minute(at, chance)])
        ends = settle(made)
        closed = [s for s in SYMBOLS if chance.random() < 0.6 or begin + STEP >= last]
        outs = [out for at in range(begin, begin + STEP) for out in beats(at, ends, closed)]
        send(made, outs, topic=made.names.heartbeats)
        settle(made)


def settle(made: Pipeline) -> dict[int, int]:
    """Wait until every tick and every heartbeat is committed; ends of the ticks, by partition."""
    names = made.names
    ends = {
        partition: (end_offset(made, partition), end_offset(made, partition, names.heartbeats))
        for partition in range(PARTITIONS)
    }
    until(lambda: positions(made) == ends, 120, "every tick and every heartbeat committed")
    return {partition: ticks for partition, (ticks, _) in ends.items()}


@contextmanager
def running(directory: Path) -> Iterator[Pipeline]:
    """The Kafka of a directory, and no worker yet."""
    with KafkaCluster(data_dir=directory / "kafka") as broker:
        made = Pipeline(broker.bootstrap, "outputs", directory, dict(OPTIONS))
        try:
            yield made
        finally:
            for worker in made.workers:
                worker.kill()
            broker.stop()


def positions(made: Pipeline) -> dict[int, tuple[int, int]]:
    """By partition the offsets of ticks and of heartbeats that come next."""
    found = {}
    for row in made.read(made.names.series):
        if row.key == POSITION_KEY:
            position = decode_position(row.value or b"")
            found[row.partition] = position.next_offset, position.heartbeat_offset
    return found


def outputs(directory: Path, code: Path, seed: int) -> dict[str, Found]:
    """What a worker of ``code`` writes, by topic without the name of the pipeline."""
    with running(directory) as made:
        made.run("topics", "create")
        made.run("schedule", "load", str(sessions(directory)), "--yes")
        half = MINUTES // len(LIVES)
        for number, options in enumerate(LIVES):
            env = {f"BARSTREAM_{key}": value for key, value in options.items()}
            worker = made.worker(extra_env=env, tree=code)
            feed(made, number * half, (number + 1) * half, seed)
            assert worker.stop() == 0, worker.tail()
        topics = made.names.by_logical().items()
        return {logical: found(made, name) for logical, name in topics if logical not in INPUTS}


def found(made: Pipeline, topic: str) -> Found:
    """The records of a topic that do not follow from the machine."""
    records: Found = {}
    names = made.names
    of_bars = topic in {
        names.final_1m, names.live_1m, *names.rollups.values(), *names.live_rollups.values()
    }  # fmt: skip
    for each in made.read(topic):
        key, value = each.key or b"", each.value
        if value is not None and of_bars:
            value = encode("bar", decode_row(value) | _NO_TURNOVER)
        elif value is not None and topic == names.series:
            value = _state(key, value)
        records.setdefault((each.partition, each.key), []).append((value, each.headers))
    if topic == made.names.ticks_rejected:
        return records
    return {key: rows[-1:] for key, rows in records.items()}


def _state(key: bytes, value: bytes) -> bytes:
    """A row of the series table as this version writes it, without a turnover."""
    if key == POSITION_KEY:
        # of this Kafka: which topic it is, and where batches and transactions ended
        position = decode_position(value)
        return encode_position(replace(position, topic_id=None, last_batch=None, written=None))
    if is_rules_key(key):
        return encode_rules(decode_rules(key, value))
    if is_withdrawal_key(key):
        return encode_withdrawal(decode_withdrawal(key, value))
    row = decode_series(value)
    bars = [bar | {"turnover": None} for bar in row["open_bars"]]
    return encode("series_state", row | {"row_version": ROW_VERSION, "open_bars": bars})


def differences(one: dict[str, Found], other: dict[str, Found]) -> Iterator[str]:
    """A line for each key that has not the same in both."""
    for topic in sorted(one.keys() | other.keys()):
        left, right = one.get(topic, {}), other.get(topic, {})
        for key in sorted(left.keys() | right.keys(), key=repr):
            if left.get(key) != right.get(key):
                yield f"{topic} {key}:\n  {left.get(key)}\n  {right.get(key)}"


def compare(commits: tuple[str, str | None], seed: int, directory: Path) -> list[str]:
    """Differences between what the two commits wrote."""
    written = []
    for number, commit in enumerate(commits):
        place = directory / f"run-{number}"
        place.mkdir()
        code = ROOT if commit is None else source_tree(commit, directory / f"code-{number}")
        written.append(outputs(place, code, seed))
        rows = {name: sum(map(len, each.values())) for name, each in written[-1].items()}
        print(f"{commit or 'work tree'}: {rows}", flush=True)  # noqa: T201
    return list(differences(*written))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.upgrade.outputs", description=__doc__)
    parser.add_argument("commits", nargs="+", metavar="COMMIT")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    first, second = [*options.commits, None][:2]
    with tempfile.TemporaryDirectory(prefix="barstream-outputs-") as directory:
        lines = compare((first, second), options.seed, Path(directory))
    print("\n".join([*lines[:20], f"{len(lines)} keys differ"]))  # noqa: T201
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
