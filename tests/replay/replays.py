"""Running `barstream replay` and looking at what it leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from barstream.replay.shadow_topics import ShadowTopics
from tests.pipeline import ROOT, Pipeline, Record

Values = dict[bytes, bytes]


@dataclass(frozen=True)
class Said:
    """Exit code and JSON lines of a command."""

    code: int
    lines: list[dict[str, Any]]
    text: str

    @property
    def differences(self) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["type"] == "difference"]

    @property
    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = next(line for line in self.lines if line["type"] == "summary")
        return found

    @property
    def equal(self) -> dict[str, int]:
        """Equal bars by timeframe."""
        return {name: tally["equal"] for name, tally in self.summary["timeframes"].items()}


def replay(made: Pipeline, *arguments: str) -> Said:
    """`barstream replay ARGUMENTS --json`."""
    done = subprocess.run(
        [sys.executable, "-m", "barstream", "replay", *arguments, "--json"],
        cwd=ROOT, env=made.env, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return Said(done.returncode, lines, done.stdout + done.stderr)


def newest(made: Pipeline, topic: str) -> Values:
    """The newest value of each key that was not withdrawn."""
    found: Values = {}
    for record in made.read(topic):
        if record.key is not None and record.value is None:
            found.pop(record.key, None)
        elif record.key is not None and record.value is not None:
            found[record.key] = record.value
    return found


def content(made: Pipeline, topic: str) -> list[tuple[Any, ...]]:
    """Everything a topic holds but the times it was written at."""
    return [
        (each.partition, each.offset, each.key, each.value, tuple(each.headers.items()))
        for each in made.read(topic)
    ]


def shadows(made: Pipeline, suffix: str) -> dict[str, str]:
    """Topic of production to its shadow."""
    originals = ShadowTopics(made.names, suffix).originals
    return {original: shadow for shadow, original in originals.items()}


def finals(made: Pipeline) -> list[str]:
    """Topics of finals, of minutes and longer."""
    return [made.names.final_1m, *made.names.rollups.values()]


def rejections(made: Pipeline, topic: str) -> dict[int, set[tuple[Any, ...]]]:
    """Rejected ticks by partition, without the order in which they were written."""
    found: dict[int, set[tuple[Any, ...]]] = {}
    records: list[Record] = made.read(topic)
    for each in records:
        row = each.key, each.value, tuple(sorted(each.headers.items()))
        found.setdefault(each.partition, set()).add(row)
    return found
