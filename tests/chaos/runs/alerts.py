"""The alert rules of ``docs/alerts.yml``, evaluated over what was scraped in a run.

As much of PromQL as the rules use: selectors, ``increase``, ``sum``, ``max`` and ``min`` over all
workers, ``time()``, one ``-`` or ``/``, a comparison, and ``and``.  What is combined must be
aggregated, because Prometheus pairs samples only when their labels are equal.
"""

from __future__ import annotations

import operator
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.chaos.runs.scrape import Labels, Numbers
from tests.pipeline import ROOT

RULES: Final = ROOT / "docs" / "alerts.yml"
History = Mapping[str, Sequence[Numbers]]
"""Answers in order, by worker."""
_Key = tuple[str, Labels]
Series = tuple[list[float], list[float], list[float]]

_SELECTOR: Final = re.compile(r"([a-z_]+)(?:\{(.*)\})?")
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')
_COMPARISON: Final = re.compile(r"(.+?) (==|>|<) (-?[\d.]+)")
_CALL: Final = re.compile(r"(sum|max|min|increase)\((.+)\)")
_RANGE: Final = re.compile(r"(.+)\[(\d+)([smh])\]")
_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_FOLD: Final[dict[str, Any]] = {"sum": sum, "max": max, "min": min}
_SINCE: Final = "time() - "
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert."""

    name: str
    expr: str
    runbook: str

    @property
    def metrics(self) -> set[str]:
        """Names of the metrics it reads."""
        return set(re.findall(r"barstream_\w+|\bup\b", self.expr))


def rules_of(path: Path = RULES) -> list[Rule]:
    """The rules in a file for Prometheus."""
    groups = yaml.safe_load(path.read_text())["groups"]
    return [
        Rule(rule["alert"], rule["expr"], rule["annotations"]["runbook"])
        for group in groups
        for rule in group["rules"]
    ]


def fired(rules: Sequence[Rule], history: History) -> list[str]:
    """Names of the rules whose expression held at any moment of a run."""
    moments = sorted({numbers.at_s for answers in history.values() for numbers in answers})
    seen = Seen(history)
    return [rule.name for rule in rules if any(holds(rule.expr, seen, at) for at in moments)]


class Seen:
    """What was scraped, by metric; ``Series`` has the shape (times, values, growth so far)."""

    def __init__(self, history: History) -> None:
        self._times = {worker: [n.at_s for n in answers] for worker, answers in history.items()}
        self._series: dict[str, dict[_Key, Series]] = {}
        for worker, answers in history.items():
            for numbers in answers:
                for (name, labels), value in numbers.samples.items():
                    rows = self._series.setdefault(name, {})
                    times, values, grown = rows.setdefault((worker, labels), ([], [], []))
                    # a counter that begins again at 0 was not taken back
                    rise = value - values[-1] if values else 0.0
                    grown.append((grown[-1] if grown else 0.0) + (rise if rise >= 0 else value))
                    times.append(numbers.at_s)
                    values.append(value)

    def instant(self, selector: str, at_s: float) -> list[float]:
        """What each worker showed when it was scraped last."""
        found = []
        for (worker, _), (times, values, _grown) in self._matching(selector):
            scrapes = self._times[worker]
            last = bisect_right(times, at_s)
            if last and times[last - 1] == scrapes[bisect_right(scrapes, at_s) - 1]:
                found.append(values[last - 1])
        return found

    def increase(self, selector: str, at_s: float) -> list[float]:
        """By how much counters have grown within a range."""
        ranged = _RANGE.fullmatch(selector)
        if ranged is None:
            raise ValueError(f"increase needs a range such as [5m], found {selector!r}")
        inner, number, unit = ranged.groups()
        from_s = at_s - int(number) * _SECONDS[unit]
        found = []
        for _, (times, _values, grown) in self._matching(inner):
            first, last = bisect_left(times, from_s), bisect_right(times, at_s)
            if last - first > 1:
                found.append(grown[last - 1] - grown[first])
        return found

    def _matching(self, selector: str) -> list[tuple[_Key, Series]]:
        matched = _SELECTOR.fullmatch(selector)
        if matched is None:
            raise ValueError(f"a metric with or without labels is required, found {selector!r}")
        name, labels = matched.groups()
        wanted = frozenset(_LABEL.findall(labels or ""))
        return [(key, row) for key, row in self._series.get(name, {}).items() if wanted <= key[1]]


def holds(expr: str, seen: Seen, at_s: float) -> bool:
    """Whether an expression holds for any worker at a moment."""
    parts = expr.split(" and ")
    for part in parts:
        matched = _COMPARISON.fullmatch(part)
        if matched is None:
            raise ValueError(f"a comparison with a number is required, found {part!r}")
        left, sign, number = matched.groups()
        values, is_one = _value(left, seen, at_s)
        if len(parts) > 1 and not is_one:
            raise ValueError(f"what is joined by `and` must be aggregated, found {part!r}")
        if not any(_COMPARE[sign](value, float(number)) for value in values):
            return False
    return True


def _value(term: str, seen: Seen, at_s: float) -> tuple[list[float], bool]:
    """Values of a term, and whether it is one number for all workers."""
    if term.startswith(_SINCE):  # a scalar: what it is taken from keeps its labels
        values, is_one = _value(term.removeprefix(_SINCE), seen, at_s)
        return [at_s - value for value in values], is_one
    for sign in (" - ", " / "):
        if sign in term:
            return _combined(sign, *(_value(part, seen, at_s) for part in term.split(sign))), True
    called = _CALL.fullmatch(term)
    if called is None:
        return seen.instant(term, at_s), False
    name, inner = called.groups()
    if name == "increase":
        return seen.increase(inner, at_s), False
    values, _ = _value(inner, seen, at_s)
    return ([float(_FOLD[name](values))] if values else []), True


def _combined(
    sign: str, left: tuple[list[float], bool], right: tuple[list[float], bool]
) -> list[float]:
    if not (left[1] and right[1]):
        raise ValueError(f"both sides of {sign.strip()!r} must be aggregated")
    if not left[0] or not right[0]:
        return []
    a, b = left[0][0], right[0][0]
    if sign == " - ":
        return [a - b]
    return [a / b] if b else []
