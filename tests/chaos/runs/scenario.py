"""What a seed means: feed, rules, workers, and which faults come when.  Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.chaos.faults import KINDS, Fault
from tests.chaos.runs.families import BESIDE, FAMILIES, Family

#: Seconds from the first tick to the last fault's beginning.
_SPAN_S = 9.0
#: Of a run on three brokers: they are slower to start and to recover.
_CLUSTER_SPAN_S = 14.0


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault: what, when after the first tick, and for how long."""

    kind: str
    at_s: float
    lasts_s: float
    seed: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run, as its seed decides it.

    Attributes:
        live: event time is the wall clock and the leader sends heartbeats; else history.
        revise: late ticks are merged, else rejected.
        scheduled: series have sessions, else they trade 24x7.
        cluster: on three brokers, else on one.
        chosen: its faults were asked for, and not drawn.
        warm: the feed begins when the workers are ready.
        workers: how many.
        rate: ticks a second.
        standby: workers keep warm copies of each other's partitions.
        family: whose faults it has; None: any that are of none.
        partitions: of the ticks.
        kafka: the version that its three brokers, which no other run has, begin at; None: today's.
    """

    seed: int
    live: bool
    revise: bool
    scheduled: bool
    cluster: bool
    chosen: bool
    warm: bool
    workers: int
    rate: int
    standby: bool
    faults: tuple[Planned, ...]
    family: str | None = None
    partitions: int = 4
    kafka: str | None = None

    @property
    def name(self) -> str:
        """Of its files and in reports."""
        return str(self.seed) if self.family is None else f"{self.family}-{self.seed}"

    @property
    def span_s(self) -> float:
        """When the last fault is over."""
        return max((fault.at_s + fault.lasts_s for fault in self.faults), default=_SPAN_S)

    @property
    def short(self) -> str:
        """Its rules in a few letters."""
        letters = (
            "l" if self.live else "h",
            "rev" if self.revise else "rej",
            "s" if self.scheduled else "24",
            f"{3 if self.cluster else 1}b",
            f"{self.workers}w" + ("+" if self.standby else ""),
            *([f"{self.partitions}p"] if self.family else []),
            *([self.kafka] if self.kafka else []),
        )
        return " ".join(letters)

    def __str__(self) -> str:
        words = [
            "live" if self.live else "history",
            "revise" if self.revise else "reject",
            "sessions" if self.scheduled else "24x7",
            ("3 brokers" if self.cluster else "1 broker")
            + (f" of Kafka {self.kafka}" if self.kafka else ""),
            f"{self.workers} {'warm' if self.warm else 'cold'} workers",
            f"{self.rate} ticks/s" + (", standbys" if self.standby else ""),
            *([f"{self.partitions} partitions"] if self.family else []),
        ]
        faults = [f"{f.kind}@{f.at_s:.1f}+{f.lasts_s:.1f}s" for f in self.faults]
        seed = f"seed {self.seed}" if self.family is None else f"{self.family} seed {self.seed}"
        return f"{seed}: {', '.join(words)}; {' '.join(faults)}"


def scenario_of(
    seed: int,
    kinds: tuple[str, ...] | None = None,
    *,
    cluster: bool | None = None,
    live: bool | None = None,
    family: str | None = None,
) -> Scenario:
    """The run of a seed.

    Args:
        seed: decides everything.
        kinds: exactly these faults, in this order; by default one to four that the seed draws.
        cluster: on three brokers or on one; by default one of seven is on three brokers.
        live: whether event time is the wall clock; by default it is for a quarter of the seeds.
        family: whose faults are drawn; None: those of none.
    """
    rng = random.Random(seed if family is None else f"{family} {seed}")
    rules = FAMILIES[family] if family is not None else None
    drawn_cluster = rng.random() < 0.15
    drawn_live = rng.random() < 0.25
    revise = rng.random() < 0.4
    scheduled = rng.random() < 0.4
    warm = rng.random() < 0.7
    workers = rng.randint(1, 3)
    rate = rng.choice((200, 500, 1000))
    standby = rng.random() < 0.4
    on_cluster = (drawn_cluster and rules is None) if cluster is None else cluster
    given = {"cluster"} if on_cluster else set()
    chosen = kinds or (_draw(rng, given) if rules is None else _draw_of(rng, rules))
    needs = {need for kind in chosen for need in KINDS[kind].needs}
    partitions, kafka = 4, None
    if rules is not None:
        partitions = rng.choice(rules.partitions)
        scheduled = scheduled if rules.scheduled is None else rules.scheduled
    scheduled = (scheduled or "schedule" in needs) and "always_open" not in needs
    on_cluster = on_cluster or (rules is not None and "cluster" in needs)
    if rules is not None and rules.kafka and on_cluster:
        kafka = rng.choice(rules.kafka)
    warm = warm or "warm" in needs
    workers = max(workers, 2) if "workers" in needs else workers
    span_s = _CLUSTER_SPAN_S if on_cluster else _SPAN_S
    faults = []
    for kind in chosen:
        fault = KINDS[kind]
        lasts_s = rng.uniform(fault.shortest_s, fault.longest_s)
        at_s = rng.uniform(1.0, max(1.5, span_s - lasts_s))
        faults.append(Planned(kind, at_s, lasts_s, rng.randrange(1 << 30)))
    return Scenario(
        seed,
        (drawn_live if live is None else live) or "live" in needs,
        revise,
        scheduled,
        on_cluster or "cluster" in needs,
        kinds is not None,
        warm,
        workers,
        rate,
        standby and workers > 1,
        tuple(sorted(faults, key=lambda fault: fault.at_s)),
        family,
        partitions,
        kafka,
    )


def _draw(rng: random.Random, given: set[str]) -> tuple[str, ...]:
    possible = [name for name, kind in KINDS.items() if _fits(kind, given)]
    owned = [name for name in possible if "cluster" in KINDS[name].needs]
    chosen = [rng.choice(possible) for _ in range(rng.randint(1, 4))]
    if owned and not set(chosen) & set(owned):
        chosen[0] = rng.choice(owned)
    return _one_a_thing(chosen)


def _draw_of(rng: random.Random, family: Family) -> tuple[str, ...]:
    """Some of the family, and none to two of the others."""
    own = [name for name, kind in KINDS.items() if kind.family == family.name and kind.drawn]
    chosen = [rng.choice(own) for _ in range(rng.randint(1, family.most))]
    return _one_a_thing([*chosen, *(rng.choice(BESIDE) for _ in range(rng.randint(0, 2)))])


def _one_a_thing(chosen: list[str]) -> tuple[str, ...]:
    kept: dict[str, str] = {}
    for kind in chosen:
        kept.setdefault(KINDS[kind].thing or kind, kind)
    return tuple(kept.values())


def _fits(kind: type[Fault], given: set[str]) -> bool:
    return (
        kind.drawn and kind.family is None and ("cluster" not in kind.needs or "cluster" in given)
    )
