"""The alert rules of ``docs/alerts.yml``, evaluated over what was scraped in a run.

As much of PromQL as the rules use: selectors, ``increase``, ``sum``, ``max`` and ``min`` over all
workers, ``time()``, one ``-`` or ``/``, a comparison, and ``and``.  What is combined must be
aggregated, because Prometheus pairs samples only when their labels are equal.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from tests.chaos.runs.scraping import Labels, Numbers
from tests.pipeline import ROOT

RULES: Final = ROOT / "docs" / "alerts.yml"
History = Mapping[str, Sequence[Numbers]]
"""Answers in order, by worker."""
_Key = tuple[str, Labels]

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
    return [rule.name for rule in rules if any(holds(rule.expr, history, at) for at in moments)]


def holds(expr: str, history: History, at_s: float) -> bool:
    """Whether an expression holds for any worker at a moment."""
    parts = expr.split(" and ")
    for part in parts:
        matched = _COMPARISON.fullmatch(part)
        if matched is None:
            raise ValueError(f"a comparison with a number is required, found {part!r}")
        left, sign, number = matched.groups()
        values, is_one = _value(left, history, at_s)
        if len(parts) > 1 and not is_one:
            raise ValueError(f"what is joined by `and` must be aggregated, found {part!r}")
        if not any(_COMPARE[sign](value, float(number)) for value in values):
            return False
    return True


def _value(term: str, history: History, at_s: float) -> tuple[list[float], bool]:
    """Values of a term, and whether it is one number for all workers."""
    for sign in (" - ", " / "):
        if sign in term:
            left, right = (_value(part, history, at_s) for part in term.split(sign))
            if not (left[1] and right[1]):
                raise ValueError(f"both sides of{sign}must be aggregated, found {term!r}")
            if not left[0] or not right[0]:
                return [], True
            a, b = left[0][0], right[0][0]
            if sign == " - ":
                return [a - b], True
            return ([a / b], True) if b else ([], True)
    if term == "time()":
        return [at_s], True
    called = _CALL.fullmatch(term)
    if called is None:
        return list(_instant(term, history, at_s).values()), False
    name, inner = called.groups()
    if name == "increase":
        return list(_increase(inner, history, at_s).values()), False
    values, _ = _value(inner, history, at_s)
    fold: Callable[[list[float]], float] = {"sum": sum, "max": max, "min": min}[name]
    return ([fold(values)] if values else []), True


def _wanted(selector: str) -> tuple[str, Labels]:
    matched = _SELECTOR.fullmatch(selector)
    if matched is None:
        raise ValueError(f"a metric with or without labels is required, found {selector!r}")
    name, labels = matched.groups()
    return name, frozenset(_LABEL.findall(labels or ""))


def _instant(selector: str, history: History, at_s: float) -> dict[_Key, float]:
    """What each worker showed last."""
    name, wanted = _wanted(selector)
    found: dict[_Key, float] = {}
    for worker, answers in history.items():
        before = [numbers for numbers in answers if numbers.at_s <= at_s]
        if before:
            samples = before[-1].samples
            found.update(
                {(worker, ls): v for (n, ls), v in samples.items() if n == name and wanted <= ls}
            )
    return found


def _increase(selector: str, history: History, at_s: float) -> dict[_Key, float]:
    """By how much counters have grown; one that begins again at 0 was not taken back."""
    ranged = _RANGE.fullmatch(selector)
    if ranged is None:
        raise ValueError(f"increase needs a range such as [5m], found {selector!r}")
    inner, number, unit = ranged.groups()
    name, wanted = _wanted(inner)
    from_s = at_s - int(number) * _SECONDS[unit]
    grown: dict[_Key, float] = {}
    last: dict[_Key, float] = {}
    for worker, answers in history.items():
        for numbers in answers:
            if not from_s <= numbers.at_s <= at_s:
                continue
            for (n, labels), value in numbers.samples.items():
                if n != name or not wanted <= labels:
                    continue
                key = worker, labels
                if key in last:
                    before = last[key]
                    grown[key] = grown.get(key, 0.0) + (
                        value - before if value >= before else value
                    )
                last[key] = value
    return grown
