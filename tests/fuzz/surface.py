"""What is fuzzed: a way of making inputs, and a way of telling that they were taken well.

Inputs are made from seeds alone: batch ``n`` of a surface is the same in every run with the same
seed, so a finding is repeated by naming them.
"""

from __future__ import annotations

import faulthandler
import resource
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

#: A case that takes longer than this is a hang.
HANG_S: Final = 1.0
#: A batch that does not end at all: the process says where it stands and ends.
_GIVE_UP_S: Final = 120.0


class BrokenRuleError(AssertionError):
    """What came of a case is not what the rules say."""


@dataclass(frozen=True)
class Surface:
    """One kind of input.

    Args:
        name: for ``--only`` and the report.
        make: one mutated case.
        judge: gives cases to the code and says what became of each, in order; raises when a
            rule is broken, whatever else the code raises is a finding as well.
        at_once: cases a batch: what is judged together must not disturb each other.
        good: one case that was not mutated, mixed in to be disturbed; None: there are none.
    """

    name: str
    make: Callable[[Random], Any]
    judge: Callable[[Sequence[Any], Random], list[str]]
    at_once: int = 256
    good: Callable[[Random], Any] | None = None
    #: How many cases it gets where others get one: slow ones would take all the time.
    weight: float = 1.0


@dataclass
class Finding:
    """A batch, or the one case of it, that broke something."""

    surface: str
    seed: int
    batch: int
    case: str
    error: str

    def __str__(self) -> str:
        return (
            f"{self.surface}: {self.error}\n  repeat: python -m tests.fuzz --only {self.surface} "
            f"--seed {self.seed} --batch {self.batch}\n  case: {self.case}"
        )


@dataclass
class Outcome:
    """What came of one surface."""

    surface: str
    mutated: int = 0
    good: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest_s: float = 0.0
    took_s: float = 0.0
    #: By how much the process has grown at its peak, bytes.
    grown: int = 0


def run(surface: Surface, cases: int, seed: int, only_batch: int | None = None) -> Outcome:
    """Judge ``cases`` mutated cases; goes on after a finding, so that one does not hide others."""
    outcome = Outcome(surface.name)
    before, began = _peak(), time.perf_counter()
    number = 0 if only_batch is None else only_batch
    while outcome.mutated < cases:
        _batch(surface, outcome, seed, number)
        number += 1
        if only_batch is not None:
            break
    outcome.took_s = time.perf_counter() - began
    outcome.grown = _peak() - before
    return outcome


def _batch(surface: Surface, outcome: Outcome, seed: int, number: int) -> None:
    chance = Random(f"{seed}/{surface.name}/{number}")
    cases = [surface.make(chance) for _ in range(surface.at_once)]
    mutated = len(cases)
    if surface.good is not None:
        for _ in range(max(1, mutated // 8)):
            cases.insert(chance.randrange(len(cases) + 1), surface.good(chance))
    outcome.mutated += mutated
    outcome.good += len(cases) - mutated
    try:
        results, took_s = _judged(surface, cases, chance)
        if took_s > HANG_S:
            took_s = _slowest(surface, cases, outcome, seed, number)
    except Exception as error:  # noqa: BLE001  whatever it is, it is what we are looking for
        outcome.findings.append(_finding(surface, cases, error, seed, number))
        outcome.counts["FINDING"] += mutated
        return
    outcome.slowest_s = max(outcome.slowest_s, took_s)
    outcome.counts.update(results)


def _judged(surface: Surface, cases: list[Any], chance: Random) -> tuple[list[str], float]:
    faulthandler.dump_traceback_later(_GIVE_UP_S, exit=True)
    began = time.perf_counter()
    try:
        results = surface.judge(cases, chance)
    finally:
        faulthandler.cancel_dump_traceback_later()
    took_s = time.perf_counter() - began
    if len(results) != len(cases):
        raise BrokenRuleError(f"{len(cases)} cases went in, {len(results)} came out")
    return results, took_s


def _slowest(surface: Surface, cases: list[Any], outcome: Outcome, seed: int, number: int) -> float:
    """A batch was slow: that is a machine that pauses, or one case that hangs."""
    slowest_s = 0.0
    for case in cases:
        took_s = min(_judged(surface, [case], Random(0))[1] for _ in range(2))
        slowest_s = max(slowest_s, took_s)
        if took_s > HANG_S:
            text = f"took {took_s:.1f} s"
            outcome.findings.append(Finding(surface.name, seed, number, shown(case), text))
    return slowest_s


def _finding(
    surface: Surface, cases: list[Any], error: Exception, seed: int, number: int
) -> Finding:
    for case in cases:  # most often one case alone does it
        try:
            surface.judge([case], Random(0))
        except Exception as alone:  # noqa: BLE001
            return Finding(surface.name, seed, number, shown(case), _said(alone))
    return Finding(surface.name, seed, number, "only in the whole batch", _said(error))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:600]}"


def shown(case: Any) -> str:
    """A case for people, short."""
    text = repr(case)
    return text if len(text) <= 600 else f"{text[:400]} ... {text[-100:]} ({len(text)} characters)"


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
