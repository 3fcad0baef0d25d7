"""A comparison: in every round the contestants in turn, on one broker and the same ticks."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product
from pathlib import Path
from typing import Final

from aiokafka.errors import KafkaError

from bench.broker import Broker
from bench.contestants import Barstream, Contestant, ContestantFailed, Site
from bench.drain import Drained, Figures, drain, replay
from bench.open_loop import FeedFailed, Pace, open_loop
from bench.oracle import Truth, truth
from bench.results import Result, Results
from bench.scale import scaled_drain
from bench.tape import SHAPES, Shape, Tape, make_tape, write

PHASES: Final = ("drain", "replay", "paced", "scale")
#: What the topic of a shape is read for.
_DRAINS: Final = ("drain", "replay")
#: A topic of ticks for one run alone, by its name.
_OWN_TICKS: Final = "{name}-ticks"

#: Of one contestant; the others go on.
_FAILURES: Final = (
    ContestantFailed, FeedFailed, AssertionError, subprocess.SubprocessError, KafkaError,
    TimeoutError,
)  # fmt: skip

#: Round, shape, phase and contestant.
Place = tuple[int, str, str, str]
#: A phase, and what came of it.
Measured = tuple[str, Drained | Figures]


class MachineTooSmall(RuntimeError):
    """A comparison needs a core for the broker and one for the contestant."""


@dataclass(frozen=True)
class Plan:
    """What is compared, and how long.

    Attributes:
        scale: of the bars of a drain; rate, seconds: of the open loop.
        budget_s: a drain that takes longer is cut off.
        cores: of the broker, the feed and what watches; and of the contestant.
    """

    contestants: Mapping[str, Contestant]
    shapes: Sequence[str]
    phases: Sequence[str]
    rounds: int
    seed: int
    scale: float
    rate: int
    seconds: float
    grace_s: float
    partitions: int
    budget_s: float
    cores: tuple[int, int]

    @property
    def grace_us(self) -> int:
        """Microseconds."""
        return round(self.grace_s * 1e6)


def cores(asked: Sequence[int] | None) -> tuple[int, int]:
    """Of the broker and of the contestant: as asked, else the first two there are.

    Raises:
        MachineTooSmall: there are not two of them.
    """
    if not hasattr(os, "sched_getaffinity") or shutil.which("taskset") is None:
        raise MachineTooSmall(
            "programs must be kept on cores of their own, which needs Linux and taskset "
            "(util-linux), and one of them is not here"
        )
    there = sorted(os.sched_getaffinity(0))
    wanted = list(there[:2] if asked is None else asked)
    if len(set(wanted)) != 2 or not set(wanted) <= set(there):
        raise MachineTooSmall(
            f"two cores are required, one for the broker and one for the contestant; asked for "
            f"{wanted}, of {there}"
        )
    return wanted[0], wanted[1]


def run(plan: Plan, results: Results) -> None:
    """Measure what the results do not have yet."""
    missing = [place for place in places(plan) if not results.has(place)]
    if not missing:
        return
    # the broker and the feeds run where this process does
    os.sched_setaffinity(0, {plan.cores[0]})
    with Broker() as broker:
        course = _Course(plan, broker, results)
        for place in missing:
            course.visit(place)


def places(plan: Plan) -> Iterator[Place]:
    """All that is to be measured, in order: in each round the contestants in turn."""
    drains = [phase for phase in _DRAINS if phase in plan.phases]
    for number, name in product(range(1, plan.rounds + 1), plan.shapes):
        shape = SHAPES[name]
        able = [
            each
            for each, contestant in plan.contestants.items()
            if contestant.has_sessions or not shape.has_sessions
        ]
        # what is replayed are the bars of a drain
        yield from ((number, name, phase, each) for each in able for phase in drains)
        if shape.is_paced and "paced" in plan.phases:
            yield from ((number, name, "paced", each) for each in able)
        if not shape.has_sessions and "scale" in plan.phases:
            mine = (each for each in able if isinstance(plan.contestants[each], Barstream))
            yield from ((number, name, "scale", each) for each in islice(mine, 1))


class _Course:
    def __init__(self, plan: Plan, broker: Broker, results: Results) -> None:
        self._plan = plan
        self._broker = broker
        self._results = results
        self._filled: set[str] = set()
        #: One shape at a time: a tape and its bars take several hundred MB.
        self._tape = lru_cache(maxsize=1)(self._make)

    def visit(self, place: Place) -> None:
        """Measure a place, and where one visit does, the replay of a drain with it."""
        number, name, phase, which = place
        if self._results.has(place):
            return
        self._broker.raise_if_died()
        contestant, shape = self._plan.contestants[which], SHAPES[name]
        say(f"round {number}, {name}, {phase}, {which} ...")
        try:
            ticks = self._fill(shape) if phase in _DRAINS else _OWN_TICKS
            with self._site(shape, ticks) as site:
                for phase, done in self._measure(place, contestant, site):
                    self._add((number, name, phase, which), done, shape)
        except _FAILURES as error:
            say(f"  failed: {error}")
            # a drain that is there has failed to be replayed
            phase = "replay" if self._results.has(place) else place[2]
            if self._lacks((number, name, phase, which)):
                failed = Result(number, name, phase, which, failed=str(error) or repr(error))
                self._results.add(failed)

    def _measure(self, place: Place, contestant: Contestant, site: Site) -> Iterator[Measured]:
        number, name, phase, which = place
        if phase == "paced":
            pace = Pace(self._plan.rate, self._plan.seconds, self._plan.seed)
            yield "paced", open_loop(contestant, site, pace)
        elif isinstance(contestant, Barstream) and phase == "scale":
            yield "scale", self._scale(contestant, site.shape)
        else:
            tape, expected = self._tape(SHAPES[name])
            drained = drain(contestant, site, tape, expected, self._plan.budget_s)
            if phase == "drain":
                yield "drain", drained
            if self._lacks((number, name, "replay", which)):
                again = replay(contestant, site, tape)
                if again is not None:
                    yield "replay", again
                elif phase == "replay":
                    yield "replay", drained

    def _lacks(self, place: Place) -> bool:
        return place[2] in self._plan.phases and not self._results.has(place)

    def _scale(self, contestant: Barstream, shape: Shape) -> Figures:
        tape, _ = self._tape(SHAPES[shape.name])
        broker_core, core = self._plan.cores
        rates: list[float] = []
        for used in ([core], [core, broker_core]):
            with self._site(SHAPES[shape.name], _OWN_TICKS) as site:
                rates.append(scaled_drain(contestant, site, tape, used, self._plan.budget_s))
        return {
            "one_ticks_per_s": rates[0], "two_ticks_per_s": rates[1],
            "two_to_one": rates[1] / rates[0],
        }  # fmt: skip

    def _add(self, place: Place, done: Drained | Figures, shape: Shape) -> None:
        number, name, phase, contestant = place
        figures = dict(done.figures if isinstance(done, Drained) else done)
        misses = done.misses.to_json() if isinstance(done, Drained) else None
        if phase == "drain":
            figures["ticks_per_bar"] = shape.per_bar
        self._results.add(Result(number, name, phase, contestant, figures, misses))
        shown = {
            key: figures[key]
            for key in ("ticks_per_s", "core_share", "two_to_one")
            if figures.get(key) is not None
        }
        said = ", ".join(f"{key} {value:,.2f}" for key, value in shown.items())
        wrong = "" if misses is None else f", {misses['bars']:,} bars wrong"
        say(f"  {phase}: {said}{wrong}")

    def _make(self, shape: Shape) -> tuple[Tape, Truth]:
        plan = self._plan
        tape = make_tape(
            shape.scaled(plan.scale), seed=plan.seed, grace_us=plan.grace_us,
            partitions=plan.partitions,
        )  # fmt: skip
        return tape, truth(tape, plan.grace_us)

    def _fill(self, shape: Shape) -> str:
        topic = f"ticks-{shape.name}"
        if topic not in self._filled:
            tape, _ = self._tape(shape)
            say(f"{len(tape):,} ticks to {topic}")
            self._broker.create(topic, self._plan.partitions)
            asyncio.run(write(self._broker.options, topic, tape))
            self._filled.add(topic)
        return topic

    @contextmanager
    def _site(self, shape: Shape, ticks: str) -> Iterator[Site]:
        """A directory and a name of its own; what has that name is gone afterwards."""
        name = f"bench{secrets.token_hex(4)}"
        scaled = shape.scaled(self._plan.scale)
        with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as directory:
            try:
                yield Site(
                    self._broker, name, Path(directory), self._plan.cores[1],
                    ticks.format(name=name), self._plan.partitions, scaled, self._plan.grace_us,
                )  # fmt: skip
            finally:
                self._broker.delete(name)


def say(what: str) -> None:
    """A line of progress."""
    print(what, file=sys.stderr, flush=True)
