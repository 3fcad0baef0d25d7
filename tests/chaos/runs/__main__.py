"""``python -m tests.chaos.runs --runs 200 --seed 1 --report docs/fault-runs.md``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.chaos.faults import KINDS
from tests.chaos.runs.alerts import rules_of
from tests.chaos.runs.batch import interruptible, play_all
from tests.chaos.runs.chosen import CHOSEN
from tests.chaos.runs.families import FAMILIES
from tests.chaos.runs.report import merged, page
from tests.chaos.runs.result import Result
from tests.chaos.runs.scenario import scenario_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Play runs; 0 when all are clean."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.runs", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; then one more each")
    parser.add_argument("--only", type=int, nargs="*", help="exactly these seeds")
    parser.add_argument("--chosen", action="store_true", help="also the seeds of chosen.py")
    parser.add_argument(
        "--family", nargs="*", choices=sorted(FAMILIES), metavar="NAME",
        help=f"the seeds are of each of these, of all when none is named: {', '.join(FAMILIES)}",
    )  # fmt: skip
    parser.add_argument("--faults", nargs="*", choices=sorted(KINDS), help="exactly these, always")
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time, on one broker")
    parser.add_argument("--results", type=Path, help="kept here, one JSON a run; not played again")
    parser.add_argument(
        "--report",
        type=Path,
        help="write a page of all results, and beside it (.jsonl) what the next one adds to",
    )
    options = parser.parse_args(arguments)
    seeds = options.only or list(range(options.seed, options.seed + options.runs))
    if options.chosen:
        seeds = [*seeds, *CHOSEN]
    given = tuple(options.faults) if options.faults else None
    results = options.results or Path(tempfile.mkdtemp(prefix="barstream-runs-"))
    results.mkdir(parents=True, exist_ok=True)
    interruptible()
    began = time.monotonic()
    played = bad = 0
    families: Sequence[str | None] = [None]
    if options.family is not None:
        families = options.family or list(FAMILIES)
    for family in families:
        chosen = CHOSEN if family is None else {}
        drawn = [scenario_of(seed, given or chosen.get(seed), family=family) for seed in seeds]
        todo = [each for each in drawn if not (results / f"{each.name}.json").exists()]
        bad += sum(_keep(result, results) for result in play_all(todo, options.jobs, results))
        played += len(todo)
    _say(f"{played} runs in {time.monotonic() - began:.0f} s, {bad} not clean, see {results}")
    if options.report:
        _report(options.report, results)
    return 1 if bad else 0


def _report(place: Path, results: Path) -> None:
    """Write the page, of what is beside it from days before and of these results.

    Hours of a machine are not to be had in one go.
    """
    beside = place.with_suffix(".jsonl")
    before = beside.read_text().splitlines() if beside.exists() else []
    now = [path.read_text() for path in sorted(results.glob("*.json"))]
    rows = merged(map(json.loads, [*before, *now]))
    beside.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
    place.write_text(page(rows, rules_of()))


def _keep(result: Result, results: Path) -> bool:
    """Print and store a result; whether something was wrong."""
    _say(result.scenario)
    for line in result.did:
        _say(f"    {line}")
    for line, count in Counter(result.ended).items():
        _say(f"    ended by itself, {count} times: {line}")
    for line in result.problems:
        _say(f"    PROBLEM {line}")
    verdict = "skipped: " + result.skipped if result.skipped else "clean"
    if result.problems:
        verdict = f"{len(result.problems)} problems"
    _say(
        f"    {verdict}: {result.ticks} ticks, {result.bars} bars, {result.starts} starts, "
        f"settled in {result.recovery_s:.1f} s, {result.seconds:.0f} s in all, "
        f"{result.peak_mib:.0f} MiB, {result.descriptors} files"
    )
    stored: dict[str, Any] = result.as_dict()
    (results / f"{result.name}.json").write_text(json.dumps(stored, indent=1))
    return bool(result.problems)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
