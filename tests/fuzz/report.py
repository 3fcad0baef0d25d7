"""What came of runs, as tables of a page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.fuzz.end_to_end import Result
from tests.fuzz.surface import Outcome

_BEGIN: Final = "<!-- in-process: written by python -m tests.fuzz --report -->"
_END: Final = "<!-- end of in-process -->"
_BEGIN_E2E: Final = "<!-- end-to-end: written by python -m tests.fuzz --end-to-end --report -->"
_END_E2E: Final = "<!-- end of end-to-end -->"


def table(outcomes: Iterable[Outcome]) -> str:
    """Markdown, a line a surface."""
    lines = [
        "| surface | mutated | good beside | outcomes | a second | slowest | memory | findings |",
        "| --- | --: | --: | --- | --: | --: | --: | --: |",
    ]
    for each in outcomes:
        counts = ", ".join(f"{name} {count:,}" for name, count in each.counts.most_common())
        lines.append(
            f"| {each.surface} | {each.mutated:,} | {each.good:,} | {counts} | "
            f"{each.mutated / max(each.took_s, 1e-9):,.0f} | {each.slowest_s:.2f} s | "
            f"+{each.grown >> 20} MiB | {len(each.findings)} |"
        )
    return "\n".join(lines)


class Report:
    """Gathers outcomes."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.outcomes: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        """One surface is done."""
        self.outcomes.append(outcome)

    def write(self, path: Path) -> None:
        """Put the table into the page, between its two marks."""
        total = sum(outcome.mutated for outcome in self.outcomes)
        found = sum(len(outcome.findings) for outcome in self.outcomes)
        said = f"Seed {self.seed}: {total:,} mutated cases, {found} findings.\n\n"
        body = said + table(self.outcomes)
        _put(path, _BEGIN, _END, body)


class EndToEndReport:
    """What came of runs through a broker."""

    def __init__(self) -> None:
        self.results: list[Result] = []

    def lines(self) -> list[str]:
        """A line a run."""
        return [
            f"| {each.form} | {each.seed} | {each.mutated:,} | {each.good:,} | {each.rows:,} | "
            f"{', '.join(f'{why} {n:,}' for why, n in each.rejected.most_common())} | "
            f"{each.mutants_that_are_ticks:,} | {each.bars:,} | {each.records_per_s:,.0f} | "
            f"{each.slowest_answer_s:.2f} s of {each.answers:,} | {each.peak_rss >> 20} MiB | "
            f"{len(each.problems)} |"
            for each in self.results
        ]

    def write(self, path: Path) -> None:
        """Put the table into the page."""
        total = sum(each.mutated + each.rows for each in self.results)
        found = sum(len(each.problems) for each in self.results)
        title = (
            "| ticks | seed | mutants | good ticks | mutated rows | rejected | mutants that pass "
            "| bars | records/s | slowest answer | memory | problems |"
        )
        head = [
            f"{total:,} mutants in {len(self.results)} runs, {found} problems.",
            "",
            title,
            "| --- | --: | --: | --: | --: | --- | --: | --: | --: | --: | --: | --: |",
        ]
        _put(path, _BEGIN_E2E, _END_E2E, "\n".join([*head, *self.lines()]))


def _put(path: Path, begin: str, end: str, body: str) -> None:
    before, _, rest = path.read_text().partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n\n{body}\n\n{end}{after}")
