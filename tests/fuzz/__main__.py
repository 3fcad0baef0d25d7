"""Fuzz every surface in this process: ``python -m tests.fuzz --records 1000000 --seed 1``.

``--end-to-end N`` sends N mutants through a real broker and a real worker instead (Java and Maven
are needed).  Exit code 1 when anything was found.
"""

from __future__ import annotations

import argparse
import math
import secrets
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.end_to_end import run as run_end_to_end
from tests.fuzz.feeds import FORMATS
from tests.fuzz.report import EndToEndReport, Report, table
from tests.fuzz.surface import run
from tests.fuzz.surfaces import all_surfaces
from tests.kafka_cluster import KafkaCluster

#: Mutants a worker: more in one run would be read back for minutes.
_A_ROUND = 60_000


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--records", type=int, default=100_000, help="mutated cases in all")
    parser.add_argument("--end-to-end", type=int, default=0, help="mutants through real Kafka")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="surfaces whose name begins so")
    parser.add_argument("--batch", type=int, help="this batch alone, to repeat a finding")
    parser.add_argument("--report", type=Path, help="write what came out into this page")
    chosen = parser.parse_args()
    return _end_to_end(chosen) if chosen.end_to_end else _in_process(chosen)


def _in_process(chosen: argparse.Namespace) -> int:
    surfaces = [each for each in all_surfaces() if each.name.startswith(chosen.only)]
    if not surfaces:
        names = ", ".join(each.name for each in all_surfaces())
        raise SystemExit(f"--only must begin one of: {names}")
    share = chosen.records / sum(each.weight for each in surfaces)
    report = Report(chosen.seed)
    for surface in surfaces:
        count = math.ceil(share * surface.weight)
        outcome = run(surface, count, chosen.seed, chosen.batch)
        report.add(outcome)
        _say(table([outcome]).splitlines()[-1])
        for finding in outcome.findings[:5]:
            _say(f"  FOUND {finding}")
    if chosen.report is not None:
        report.write(chosen.report)
    return int(any(outcome.findings for outcome in report.outcomes))


def _end_to_end(chosen: argparse.Namespace) -> int:
    report = EndToEndReport()
    with KafkaCluster() as kafka:
        for number in range(math.ceil(chosen.end_to_end / _A_ROUND)):
            form = FORMATS[number % len(FORMATS)]
            with TemporaryDirectory() as directory:
                result = run_end_to_end(
                    kafka.bootstrap, f"f{secrets.token_hex(4)}", Path(directory), form,
                    min(_A_ROUND, chosen.end_to_end), chosen.seed + number,
                )  # fmt: skip
            report.results.append(result)
            _say(report.lines()[-1])
            for problem in result.problems[:5]:
                _say(f"  FOUND {problem}")
    if chosen.report is not None:
        report.write(chosen.report)
    return int(any(result.problems for result in report.results))


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
