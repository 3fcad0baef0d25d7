"""What a fault is: a kind of harm with a beginning and an end."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from barstream.core.sessions import SessionRow
from tests.chaos.feed import Feed
from tests.chaos.runs.crew import Crew, Slot
from tests.kafka_cluster import KafkaCluster
from tests.pipeline import Pipeline

#: Seconds of event time a second of the wall clock, where the feed is history.
HISTORY_SPEED: Final = 60.0


@dataclass
class Scene:
    """Everything a fault can harm.

    Attributes:
        has_sessions: whether a schedule is loaded at the start, where there is one.
        least_s: the feed runs at least so long.
        sent_by_faults: ticks that faults sent and that count, beside those of the feed.
        sessions: in force at the start; none: always open.
        notes: facts for the report.
    """

    made: Pipeline
    crew: Crew
    feed: Feed
    cluster: KafkaCluster | None
    directory: Path
    live: bool
    sessions: list[SessionRow] = field(default_factory=list)
    has_sessions: bool = True
    least_s: float = 8.0
    sent_by_faults: int = 0
    notes: list[str] = field(default_factory=list)


class Fault:
    """One kind of harm, made anew each time it is done.

    Attributes:
        name: in seeds, reports and tests.
        shortest_s, longest_s: how long it lasts.
        ends_workers: workers may end by themselves because of it, saying why.
        changes_rules: what must come out no longer follows from ticks and heartbeats alone.
        drawn: seeds may draw it; else it comes only when it is asked for.
        thing: what it acts on, where only one fault of a run may.
        needs: what of the run it needs: ``cluster``, ``schedule``, ``live``, ``workers`` (two).
    """

    name: ClassVar[str]
    shortest_s: ClassVar[float] = 0.0
    longest_s: ClassVar[float] = 3.0
    ends_workers: ClassVar[bool] = False
    changes_rules: ClassVar[bool] = False
    drawn: ClassVar[bool] = True
    thing: ClassVar[str | None] = None
    needs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    @classmethod
    def lacks(cls) -> str | None:
        """What this machine lacks for it; None: it can run."""
        return None

    def prepare(self, scene: Scene) -> None:
        """Before the first worker starts."""

    def begin(self, scene: Scene) -> str:
        """Do harm; says to whom or what."""
        raise NotImplementedError

    def end(self, scene: Scene) -> None:
        """Take the cause away."""

    def after(self, scene: Scene) -> None:
        """After the verdict: what makes a further one impossible."""

    def clean(self, scene: Scene) -> None:
        """After the run, whatever became of it: leave nothing on the machine."""

    def some(self, scene: Scene) -> Slot:
        """A worker that runs, chosen by the seed; any slot when none does."""
        return self.rng.choice(scene.crew.running or scene.crew.slots)
