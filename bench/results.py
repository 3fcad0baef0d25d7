"""Figures as they were measured, one a line, written as they come; and what they come to."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

_BASELINES: Final = ("kafka-streams", "kafka_streams")


@dataclass(frozen=True)
class Result:
    """One phase of one contestant in one round.

    Attributes:
        figures: what was measured; misses: in what its bars are wrong, where it was looked at.
        failed: why there are no figures.
    """

    round: int
    shape: str
    phase: str
    contestant: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    misses: Mapping[str, Any] | None = None
    failed: str | None = None

    @property
    def place(self) -> tuple[int, str, str, str]:
        """What it is the result of."""
        return self.round, self.shape, self.phase, self.contestant


class OtherSettings(RuntimeError):
    """The directory has results of another comparison: name another one, or give its options."""


class Results:
    """Results in a directory; what it has already is not measured again.

    Args:
        directory: made if it is not there.
        settings: what all results in it must have been measured with.

    Raises:
        OtherSettings: it has others.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.settings = dict(settings)
        self._path = directory / "results.jsonl"
        kept = directory / "settings.json"
        if kept.exists() and (there := json.loads(kept.read_text())) != self.settings:
            names = sorted(
                name
                for name in {*there, *self.settings}
                if there.get(name) != self.settings.get(name)
            )
            raise OtherSettings(
                f"{directory} has results of a comparison with other settings ("
                + ", ".join(f"{n}: {there.get(n)} there, {self.settings.get(n)} now" for n in names)
                + "): give the same options to go on with it, or another directory"
            )
        kept.write_text(json.dumps(self.settings, indent=2) + "\n")
        self.all = _lines(self._path)
        self._there = {each.place for each in self.all if each.failed is None}

    def has(self, place: tuple[int, str, str, str]) -> bool:
        """Whether it was measured; what failed is tried again."""
        return place in self._there

    def add(self, result: Result) -> None:
        """Keep a result, in place of one that failed."""
        self.all = [each for each in self.all if each.place != result.place] + [result]
        self._there.add(result.place)
        with self._path.open("a") as out:
            out.write(json.dumps(asdict(result)) + "\n")

    def to_json(self) -> dict[str, Any]:
        """All raw figures."""
        return {"settings": self.settings, "results": [asdict(each) for each in self.all]}


class Spread(NamedTuple):
    """Of the rounds."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))


def values_of(
    results: Iterable[Result], shape: str, phase: str, figure: str
) -> dict[str, dict[int, float]]:
    """A figure by contestant and round, where it was measured."""
    found: dict[str, dict[int, float]] = {}
    for each in results:
        value = each.figures.get(figure)
        if (each.shape, each.phase) == (shape, phase) and value is not None:
            found.setdefault(each.contestant, {})[each.round] = float(value)
    return found


def is_baseline(contestant: str) -> bool:
    """Whether ratios may be to it: a variant of Kafka Streams."""
    return contestant.startswith(_BASELINES)


def baseline_of(values: Mapping[str, Mapping[int, float]], *, is_more_better: bool) -> str | None:
    """The best variant of Kafka Streams by its median; None: there is none."""
    medians = {
        name: statistics.median(by_round.values())
        for name, by_round in values.items()
        if is_baseline(name)
    }
    best: Callable[..., str] = max if is_more_better else min
    return best(medians, key=lambda name: medians[name]) if medians else None


def ratios(values: Mapping[int, float], baseline: Mapping[int, float]) -> Spread | None:
    """To the baseline within each round; None: no round has both."""
    found = [values[n] / baseline[n] for n in values if baseline.get(n)]
    return Spread.of(found) if found else None


def with_cpu_of_bars(results: Sequence[Result], pairs: Sequence[tuple[str, str]]) -> list[Result]:
    """What a bar costs, added as results of a phase ``bar``.

    A drain costs so much a tick and so much a bar with all that hangs on it: its rows, its
    records, its roll-ups.  Two shapes of the same series with many and few ticks a bar tell both.

    Args:
        results: of drains, with the figures ``cpu_us_per_tick`` and ``ticks_per_bar``.
        pairs: names of shapes, dense and sparse.
    """
    found = list(results)
    for dense, sparse in pairs:
        of = {
            (each.round, each.contestant, each.shape): each
            for each in results
            if each.phase == "drain" and each.figures.get("cpu_us_per_tick") is not None
        }
        for (number, contestant, shape), many in of.items():
            few = of.get((number, contestant, sparse))
            if shape != dense or few is None:
                continue
            more_bars = 1 / few.figures["ticks_per_bar"] - 1 / many.figures["ticks_per_bar"]
            more_us = few.figures["cpu_us_per_tick"] - many.figures["cpu_us_per_tick"]
            figures = {"cpu_us_per_bar": more_us / more_bars}
            found.append(Result(number, f"{sparse} less {dense}", "bar", contestant, figures))
    return found


def _lines(path: Path) -> list[Result]:
    if not path.exists():
        return []
    found: dict[tuple[int, str, str, str], Result] = {}
    for line in path.read_text().splitlines():
        try:
            each = Result(**json.loads(line))
        except (ValueError, TypeError):  # the line that was being written when the run was cut off
            continue
        found[each.place] = each
    return list(found.values())
