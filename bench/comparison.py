"""The table of a comparison: ratios to Kafka Streams by shape and figure, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from bench.results import Result, Spread, baseline_of, ratios, values_of


@dataclass(frozen=True)
class Figure:
    """What is compared.

    Attributes:
        phase, name: where it stands in the results.
        title: of the row; with ``better`` "more" or "less".
        digits: after the point of what was measured.
    """

    phase: str
    name: str
    title: str
    better: str = "less"
    digits: int = 1

    @property
    def is_more_better(self) -> bool:
        """Higher is better."""
        return self.better == "more"


def _delays(name: str, title: str) -> tuple[Figure, ...]:
    return tuple(
        Figure("paced", f"{name}_{key}_ms", f"{title}, {shown}, ms")
        for key, shown in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"))
    )


FIGURES: Final = (
    Figure("drain", "ticks_per_s", "drain, ticks/s", "more", 0),
    Figure("drain", "cpu_us_per_tick", "drain, CPU a tick, µs", digits=2),
    Figure("bar", "cpu_us_per_bar", "CPU of a 1m bar, µs"),
    Figure("drain", "peak_mib", "drain, peak memory, MiB", digits=0),
    Figure("drain", "bytes_per_tick", "drain, bytes written a tick", digits=0),
    Figure("replay", "ticks_per_s", "replay, ticks/s", "more", 0),
    Figure("replay", "cpu_us_per_tick", "replay, CPU a tick, µs", digits=2),
    Figure("paced", "core_share", "paced, share of the core", digits=3),
    *_delays("live", "tick to live"),
    *_delays("final", "minute end + grace to final"),
    *_delays("quiet", "the same after the last tick"),
    Figure("paced", "peak_mib", "paced, peak memory, MiB", digits=0),
    Figure("paced", "bytes_per_tick", "paced, bytes written a tick", digits=0),
    Figure("scale", "two_to_one", "two workers on two cores to one", "more", 2),
)
#: Counts that are summed over the rounds: what never came.
_NEVER: Final = (
    ("paced", "live_never", "ticks never seen live"),
    ("paced", "final_never", "bars never final while ticks came"),
    ("paced", "quiet_never", "bars never final after the last tick"),
)
_MISSES: Final = (("drain", "drain, bars wrong"), ("replay", "replay, bars wrong"),
                  ("paced", "paced, bars wrong"))  # fmt: skip
_NONE: Final = "—"
_TIMES: Final = "\N{NO-BREAK SPACE}\N{MULTIPLICATION SIGN}"


class Row(NamedTuple):
    """One line: shape, title, a cell for each contestant."""

    shape: str
    title: str
    cells: list[str]


def rows_of(results: Sequence[Result], contestants: Sequence[str]) -> list[Row]:
    """The table of ratios, shape by shape; what has no ratio says what was measured."""
    found: list[Row] = []
    for shape in dict.fromkeys(each.shape for each in results):
        for figure in FIGURES:
            values = values_of(results, shape, figure.phase, figure.name)
            if not values:
                continue
            baseline = baseline_of(values, is_more_better=figure.is_more_better)
            cells = [
                _cell(figure, values.get(name), None if baseline is None else values[baseline])
                if name != baseline
                else f"1 = {_number(Spread.of(list(values[name].values())).median, figure.digits)}"
                for name in contestants
            ]
            if not values.keys() & set(contestants):
                continue
            arrow = "↑" if figure.is_more_better else "↓"
            found.append(Row(shape, f"{figure.title} {arrow}", cells))
        found += _counts(results, shape, contestants)
    return found


def figures_of(results: Sequence[Result], contestants: Sequence[str]) -> list[Row]:
    """The same rows with what was measured: median, least and most."""
    found: list[Row] = []
    for shape in dict.fromkeys(each.shape for each in results):
        for figure in FIGURES:
            values = values_of(results, shape, figure.phase, figure.name)
            if not values.keys() & set(contestants):
                continue
            spreads = {name: Spread.of(list(by.values())) for name, by in values.items()}
            cells = [
                _spread(spreads[name], figure.digits) if name in spreads else _NONE
                for name in contestants
            ]
            found.append(Row(shape, figure.title, cells))
    return found


def ratios_of(
    results: Sequence[Result], figure: Figure, shapes: Iterable[str]
) -> dict[str, dict[str, Spread]]:
    """By shape and contestant, where there is a baseline."""
    found: dict[str, dict[str, Spread]] = {}
    for shape in shapes:
        values = values_of(results, shape, figure.phase, figure.name)
        baseline = baseline_of(values, is_more_better=figure.is_more_better)
        if baseline is None:
            continue
        found[shape] = {
            name: ratio
            for name, by_round in values.items()
            if (ratio := ratios(by_round, values[baseline])) is not None
        }
    return found


def _cell(
    figure: Figure, values: dict[int, float] | None, baseline: dict[int, float] | None
) -> str:
    if not values:
        return _NONE
    ratio = None if baseline is None else ratios(values, baseline)
    if ratio is None:
        return _spread(Spread.of(list(values.values())), figure.digits)
    return f"{_spread(ratio, 2)}{_TIMES}"


def _counts(results: Sequence[Result], shape: str, contestants: Sequence[str]) -> list[Row]:
    found: list[Row] = []
    for phase, title in _MISSES:
        of = [each for each in results if (each.shape, each.phase) == (shape, phase)]
        if any(each.misses is not None or each.failed for each in of):
            cells = [_misses([e for e in of if e.contestant == name]) for name in contestants]
            found.append(Row(shape, title, cells))
            lost = [_lost([e for e in of if e.contestant == name]) for name in contestants]
            found.append(Row(shape, f"{phase}, ticks lost / taken", lost))
    for phase, name, title in _NEVER:
        values = values_of(results, shape, phase, name)
        if values:
            cells = [f"{sum(values[c].values()):,.0f}" if c in values else _NONE
                     for c in contestants]  # fmt: skip
            found.append(Row(shape, title, cells))
    return found


def _misses(results: Sequence[Result]) -> str:
    """Of all rounds: bars that are wrong, of how many, and how many of them late ticks decide."""
    if any(each.failed for each in results):
        return "failed"
    looked = [each.misses for each in results if each.misses is not None]
    if not looked:
        return _NONE
    bars, contested, expected = (
        sum(each[name] for each in looked) for name in ("bars", "contested", "expected")
    )
    late = f", {contested:,} by what is late" if contested else ""
    return f"{bars:,} of {expected:,}{late}"


def _lost(results: Sequence[Result]) -> str:
    looked = [each.misses for each in results if each.misses is not None]
    if not looked:
        return _NONE
    lost, taken = (sum(each[name] for each in looked) for name in ("ticks_lost", "ticks_taken"))
    return f"{lost:,} / {taken:,}"


def _spread(spread: Spread, digits: int) -> str:
    shown = _number(spread.median, digits)
    if spread.least == spread.most:
        return shown
    return f"{shown} ({_number(spread.least, digits)} to {_number(spread.most, digits)})"


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"
