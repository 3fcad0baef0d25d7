"""The plan of a pipeline: what its declaration and the settings come to, before anything runs.

Pure: no broker is asked.  Topics, tables and agents are made from it, and ``barstream plan``
prints it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from barstream.config import Settings
from barstream.config.periods import kept_days, periods_in_force
from barstream.config.pipeline import completed
from barstream.kafka.topics.names import TopicNames, logical_name
from barstream.kafka.topics.plan import TopicPlan, TopicShape, make_plan
from barstream.model.period import DAY, MINUTE, Period
from barstream.model.topic_name import Kind
from barstream.pipeline.load import load_query
from barstream.pipeline.model import MarketSchedule, Model
from barstream.pipeline.query import Query

Role = Literal["source", "schedule", "heartbeats", "live", "final"]

_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class Entity:
    """Something a pipeline reads or makes.

    Attributes:
        name: the logical name, as in ``[topics.overrides]``: ``rate_5m_final``.
        role: what it is for.
        model: name of the model of its rows.
        period: of bars; None of everything else.
        key: the columns its key is made of, in order.
        topic: None: it has none and is made when it is read.
        partitions: of its topic, unless a tick topic that exists has another number.
        like: the topic whose partitions it shares, one series in one number.
        sync: the topic of heartbeats that close it; roll-ups close with their minutes.
        made_of: the entity it is made from.
        retention_days: how long its rows are kept; None: for ever, or as others say.
    """

    name: str
    role: Role
    model: str
    period: Period | None
    key: tuple[str, ...]
    topic: str | None
    partitions: int | None
    like: str | None = None
    sync: str | None = None
    made_of: str | None = None
    retention_days: float | None = None

    @property
    def timeframe(self) -> str | None:
        """``5m``; None of everything that is no bar."""
        return None if self.period is None else self.period.timeframe


@dataclass(frozen=True, slots=True)
class Plan:
    """A pipeline as it will run.

    Attributes:
        settings: the settings, completed by the declaration.
        inputs: what is read: ticks, the schedule if there is one, heartbeats if there are any.
        entities: the bars: of each period the live and the final ones, finest first.
        periods: the periods beside 1m, finest first.
        live_periods: those of them whose live bars have a topic.
        heartbeats: whether heartbeats are sent: there is a window to close, and they are enabled.
        notes: what was added or left out, a sentence each.
    """

    settings: Settings
    inputs: tuple[Entity, ...]
    entities: tuple[Entity, ...]
    periods: tuple[Period, ...]
    live_periods: tuple[Period, ...]
    heartbeats: bool
    notes: tuple[str, ...]

    def entity(self, period: Period, kind: Kind) -> Entity:
        """The bars of a period.

        Raises:
            KeyError: the pipeline does not make them.
        """
        name = logical_name(period, kind)
        for entity in self.entities:
            if entity.name == name and entity.period == period:
                return entity
        raise KeyError(f"{kind} bars of {period}")

    def topic(self, period: Period, kind: Kind) -> str | None:
        """Topic of the bars of a period; None: these are made when they are read.

        Raises:
            KeyError: the pipeline does not make them.
        """
        return self.entity(period, kind).topic


def plan_of(settings: Settings) -> Plan:
    """The plan of the pipeline that the settings name.

    Raises:
        ConfigError: the pipeline cannot be loaded, or it and the settings do not go together.
    """
    return make(load_query(settings.pipeline), settings)


def make(
    query: Query, settings: Settings, existing: Mapping[str, TopicShape] | None = None
) -> Plan:
    """The plan of a declaration.

    Args:
        query: what is declared.
        settings: what is set wins over what is declared.
        existing: by topic name, what the cluster has; None: nothing yet, or not asked.

    Raises:
        ConfigError: names, periods or retention cannot be used.
    """
    settings = completed(settings, query)
    names, periods = TopicNames.of(settings), periods_in_force(settings)
    topics = {topic.logical: topic for topic in make_plan(settings, existing)}
    heartbeats = bool(query.periods) and settings.heartbeats.enabled
    bars = [MINUTE, *periods.upper] if query.periods else []
    entities = [
        _bars(query.target, period, kind, settings, topics, heartbeats=heartbeats)
        for period in bars
        for kind in _KINDS
    ]
    return Plan(
        settings=settings,
        inputs=_inputs(query, settings, topics, heartbeats=heartbeats),
        entities=tuple(entities),
        periods=tuple(names.rollups) if bars else (),
        live_periods=tuple(names.live_rollups) if bars else (),
        heartbeats=heartbeats,
        notes=tuple(_notes(query, settings, periods.added)),
    )


_KINDS: Final[tuple[Kind, ...]] = ("live", "final")


def _bars(
    model: Model,
    period: Period,
    kind: Kind,
    settings: Settings,
    topics: Mapping[str, TopicPlan],
    *,
    heartbeats: bool,
) -> Entity:
    name = logical_name(period, kind)
    topic = topics.get(name)
    source = DAY if period.is_made_of_days else MINUTE
    return Entity(
        name=name,
        role=kind,
        model=model.name,
        period=period,
        key=model.key,
        topic=None if topic is None else topic.name,
        partitions=None if topic is None else topic.partitions,
        like=None if topic is None else topic.like,
        sync=topics["heartbeats"].name if heartbeats and period == MINUTE else None,
        made_of="ticks" if period == MINUTE else logical_name(source, "final"),
        retention_days=None if topic is None else kept_days(settings, period),
    )


def _inputs(
    query: Query, settings: Settings, topics: Mapping[str, TopicPlan], *, heartbeats: bool
) -> tuple[Entity, ...]:
    def entity(logical: str, role: Role, model: str, key: tuple[str, ...]) -> Entity:
        topic = topics[logical]
        days = int(topic.config["retention.ms"]) / _DAY_MS
        return Entity(
            name=logical,
            role=role,
            model=model,
            period=None,
            key=key,
            topic=topic.name,
            partitions=topic.partitions,
            like=topic.like,
            retention_days=None if days < 0 else days,
        )

    found = [entity("ticks", "source", query.source.name, query.source.key)]
    if settings.bars.schedule:
        # set in the settings, a schedule is followed although none is declared
        sessions = query.schedule.model if query.schedule else MarketSchedule
        found.append(entity("market_schedule", "schedule", sessions.name, sessions.key))
    if heartbeats:
        # a heartbeat has the key of the bar it closes
        found.append(entity("heartbeats", "heartbeats", "Heartbeat", query.target.key))
    return tuple(found)


def _notes(query: Query, settings: Settings, added: tuple[Period, ...]) -> list[str]:
    notes = []
    if not query.periods:
        return ["there is no tumbling window: no bars are made and no heartbeats are sent"]
    made_of_days = [p for p in periods_in_force(settings).upper if p.is_made_of_days]
    notes += [
        f"{period} was added: {' '.join(map(str, made_of_days))} "
        f"{'is' if len(made_of_days) == 1 else 'are'} made of it"
        for period in added
    ]
    if not settings.bars.schedule:
        notes.append("there is no market schedule: every series trades 24x7 on the UTC calendar")
    if not settings.heartbeats.enabled:
        notes.append("heartbeats are off: a minute closes when a later tick of its series comes")
    return notes
