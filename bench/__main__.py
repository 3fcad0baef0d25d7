"""barstream against its peers: the same ticks, the same broker, the same core, one oracle.

    python -m bench                                          # hours: everything, three rounds
    python -m bench --shapes sparse --phases drain --scale 0.1 --rounds 1       # a try

What is measured stands on standard error as it comes, and in the directory of the results: a run
that was cut off goes on where it was with ``--results`` and the same options.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.contestants import Contestant, contestants
from bench.peers.catalogue import PEERS, ensure_built
from bench.report import PAGE, show, write
from bench.results import OtherSettings, Results, with_cpu_of_bars
from bench.run import PHASES, MachineTooSmall, Plan, cores, run, say
from bench.tape import SHAPES
from tests.kafka_jars import ROOT, KafkaUnavailableError, version_asked_for

_BAR_PAIRS = (("dense", "sparse"), ("many", "many-thin"))


def options_of(argv: Sequence[str] | None, known: Sequence[str]) -> argparse.Namespace:
    """What was asked for."""
    options = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = options.add_argument
    add("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES), metavar="SHAPE",
        help=f"of {', '.join(SHAPES)}")  # fmt: skip
    add("--contestants", nargs="+", choices=known, default=list(known), metavar="NAME",
        help=f"of {', '.join(known)}")  # fmt: skip
    add("--phases", nargs="+", choices=PHASES, default=list(PHASES), metavar="PHASE",
        help=f"of {', '.join(PHASES)}")  # fmt: skip
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=190, help="how long ticks are fed at a rate")
    add("--rate", type=int, default=20_000, help="ticks a second of it")
    add("--scale", type=float, default=1.0, help="of the bars of a drain; less for a try")
    add("--seed", type=int, default=1)
    add("--grace", type=float, default=5.0, help="seconds")
    add("--partitions", type=int, default=4)
    add("--budget", type=float, default=180, help="seconds after which a drain is cut off")
    add("--cores", type=int, nargs=2, help="of the broker, and of the contestant")
    add("--results", type=Path, help="directory to keep results in, or to go on with")
    add("--json", type=Path, metavar="FILE", help="all raw figures")
    add("--report", type=Path, metavar="DIR", help="the table in Markdown, and a drawing")
    return options.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare; the exit code."""
    every = contestants()
    asked = options_of(argv, list(every))
    chosen = {name: each for name, each in every.items() if name in asked.contestants}
    directory = asked.results or ROOT / ".cache" / "bench" / time.strftime("%Y%m%dT%H%M%S")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        plan = _plan(asked, chosen)
        results = Results(directory, _settings(plan))
        ensure_built([name for name in chosen if name in PEERS])
        code = _run(plan, results, directory)
    except (MachineTooSmall, OtherSettings, KafkaUnavailableError) as error:
        print(error, file=sys.stderr)
        return 2
    results.all = with_cpu_of_bars(results.all, _BAR_PAIRS)
    if asked.json:
        asked.json.write_text(json.dumps(results.to_json(), indent=2) + "\n")
    if asked.report:
        write(results, chosen, asked.report)
        say(f"written: {asked.report / PAGE}")
    show(results, {name: each.title for name, each in chosen.items()})
    return code


def _run(plan: Plan, results: Results, directory: Path) -> int:
    say(f"results: {directory}")
    try:
        run(plan, results)
    except KeyboardInterrupt:
        say(f"cut off; the same options with --results {directory} go on where it was")
        return 130
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _plan(asked: argparse.Namespace, chosen: dict[str, Contestant]) -> Plan:
    return Plan(
        contestants=chosen, shapes=asked.shapes, phases=asked.phases, rounds=asked.rounds,
        seed=asked.seed, scale=asked.scale, rate=asked.rate, seconds=asked.seconds,
        grace_s=asked.grace, partitions=asked.partitions, budget_s=asked.budget,
        cores=cores(asked.cores),
    )  # fmt: skip


def _settings(plan: Plan) -> dict[str, Any]:
    """What a figure depends on; which of them are measured, and how often, may change."""
    return {
        "seed": plan.seed, "scale": plan.scale, "rate": plan.rate, "seconds": plan.seconds,
        "grace_s": plan.grace_s, "partitions": plan.partitions, "budget_s": plan.budget_s,
        "cores": os.cpu_count(), "python": platform.python_version(),
        "kafka": version_asked_for(), "commit": _commit(),
    }  # fmt: skip


def _commit() -> str | None:
    """Of the sources, where they are a clone."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return done.stdout.strip() or None


if __name__ == "__main__":
    sys.exit(main())
