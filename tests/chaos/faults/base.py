"""What a fault is: a kind of harm with a beginning and an end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from barstream.kafka.connection import admin_client
from barstream.kafka.topics import make_plan
from barstream.market.session import SessionRow
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
        homes: partition of series whose ticks are not all where their key says.
        refused: reason by (partition, offset) of ticks that are refused before they are decoded.
        has_history: whether some series have bars of two days before the first of the feed.
        fired: names of the alerts whose condition held so far.
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
    homes: dict[str, int] = field(default_factory=dict)
    refused: dict[tuple[int, int], str] = field(default_factory=dict)
    has_history: bool = False
    fired: Callable[[], Collection[str]] = tuple
    notes: list[str] = field(default_factory=list)
    _settings: dict[str, dict[str, str]] = field(default_factory=dict)

    def configure(self, logical: Collection[str] | None, settings: Mapping[str, str]) -> None:
        """Lay settings over those of topics, named by what they are for; None: all but ticks."""
        resources = []
        for plan in make_plan(self.made.settings):
            if plan.logical in logical if logical is not None else plan.logical != "ticks":
                # what is not said anew is as the broker has it
                said = self._settings.setdefault(plan.name, dict(plan.config))
                said.update(settings)
                resources.append(ConfigResource(ConfigResourceType.TOPIC, plan.name, dict(said)))

        async def go() -> None:
            async with admin_client(self.made.settings) as admin:
                await admin.alter_configs(resources)

        asyncio.run(go())


class Fault:
    """One kind of harm, made anew each time it is done.

    Attributes:
        name: in seeds, reports and tests.
        shortest_s, longest_s: how long it lasts.
        ends_workers: workers may end by themselves because of it, saying why.
        changes_rules: what must come out no longer follows from ticks and heartbeats alone.
        drawn: seeds may draw it; else it comes only when it is asked for.
        family: of the runs that draw it; None: all that have no family.
        thing: what it acts on, where only one fault of a run may.
        needs: what of the run it needs: ``cluster``, ``schedule``, ``live``, ``workers`` (two),
            ``warm``, ``always_open``.
        alerts: those that must fire because of it.
    """

    name: ClassVar[str]
    shortest_s: ClassVar[float] = 0.0
    longest_s: ClassVar[float] = 3.0
    ends_workers: ClassVar[bool] = False
    changes_rules: ClassVar[bool] = False
    drawn: ClassVar[bool] = True
    family: ClassVar[str | None] = None
    thing: ClassVar[str | None] = None
    needs: ClassVar[frozenset[str]] = frozenset()
    alerts: frozenset[str] = frozenset()

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    @classmethod
    def lacks(cls) -> str | None:
        """What this machine lacks for it; None: it can run."""
        return None

    def prepare(self, scene: Scene) -> None:
        """Before the first worker starts."""

    def precede(self, scene: Scene) -> None:
        """Before the first tick of the feed; the workers are ready where the run is warm."""

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
