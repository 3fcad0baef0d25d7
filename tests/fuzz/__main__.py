"""Fuzz every surface in this process: ``python -m tests.fuzz --records 1000000 --seed 1``.

Exit code 1 when anything was found.  ``--end-to-end`` sends records through a real broker and a
real worker as well (Java and Maven are needed).
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from tests.fuzz.report import Report, table
from tests.fuzz.surface import run
from tests.fuzz.surfaces import all_surfaces


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--records", type=int, default=100_000, help="mutated cases in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="surfaces whose name begins so")
    parser.add_argument("--batch", type=int, help="this batch alone, to repeat a finding")
    parser.add_argument("--report", type=Path, help="write what came out as a page")
    parser.add_argument("--coverage", action="store_true", help="needs the package coverage")
    chosen = parser.parse_args()
    surfaces = [each for each in all_surfaces() if each.name.startswith(chosen.only)]
    if not surfaces:
        names = ", ".join(each.name for each in all_surfaces())
        parser.error(f"--only must begin one of: {names}")
    share = chosen.records / sum(each.weight for each in surfaces)
    report = Report(chosen.seed, coverage=chosen.coverage)
    with report:
        for surface in surfaces:
            outcome = run(surface, math.ceil(share * surface.weight), chosen.seed, chosen.batch)
            report.add(outcome)
            print(  # noqa: T201
                table([outcome]).splitlines()[-1], flush=True
            )
            for finding in outcome.findings[:5]:
                print(f"  FOUND {finding}", flush=True)  # noqa: T201
    if chosen.report is not None:
        report.write(chosen.report)
    return int(any(outcome.findings for outcome in report.outcomes))


if __name__ == "__main__":
    sys.exit(main())
