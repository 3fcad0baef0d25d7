"""Comparing a topic as it is with the topic as it must be: pure rules, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from barstream.kafka.topics.batch_size import FEWEST_BYTES, PLANNED_BYTES, SETTING
from barstream.kafka.topics.findings import Level, TopicFinding
from barstream.kafka.topics.plan import Role, TopicPlan, TopicShape

_DAY_MS = 86_400_000
CREATE = "barstream topics create"


@dataclass(frozen=True, slots=True)
class Observed:
    """A cluster as seen: shapes and settings by topic name.

    A topic in ``shapes`` but not in ``configs`` would not show its settings; ``unreadable`` is
    why.
    """

    bootstrap: str
    shapes: Mapping[str, TopicShape]
    configs: Mapping[str, Mapping[str, str]]
    unreadable: str = ""


def judge(plan: TopicPlan, seen: Observed) -> list[TopicFinding]:
    """Everything to be said about one topic; a topic as planned gives one `Level.OK`."""
    shape = seen.shapes.get(plan.name)
    if shape is None:
        return [TopicFinding(plan.name, Level.REFUSAL, "required, not found", CREATE)]
    found = list(_shape(plan, shape, seen))
    config = seen.configs.get(plan.name)
    if config is None:
        reason = f" ({seen.unreadable})" if seen.unreadable else ""
        found.append(
            TopicFinding(plan.name, Level.NOTE, f"its settings cannot be read{reason}: not checked")
        )
    else:
        found += _cleanup(plan, config, seen)
        found += _durability(plan, config, shape, seen)
        found += _timestamps(plan, config, seen)
        found += _retention(plan, config, seen)
        found += _size(plan, config, seen)
    if any(finding.level in (Level.WARNING, Level.REFUSAL) for finding in found):
        return found
    word = "partition" if shape.partitions == 1 else "partitions"
    shown = f"{shape.partitions} {word}, replication {shape.replication}"
    return [TopicFinding(plan.name, Level.OK, shown), *found]


def _shape(plan: TopicPlan, shape: TopicShape, seen: Observed) -> Iterator[TopicFinding]:
    if shape.partitions != plan.partitions:
        yield _partitions(plan, shape, seen)
    if shape.replication != plan.replication:
        told = f"{plan.copies_like} has" if plan.copies_like else "topics.replication says"
        fewer = shape.replication < plan.replication
        # More copies than asked for is no loss, except that heartbeats and bars should agree.
        level = Level.WARNING if fewer or plan.copies_like else Level.NOTE
        yield TopicFinding(
            plan.name,
            level,
            f"{told} replication {plan.replication}, found {shape.replication}",
            f"kafka-reassign-partitions.sh --bootstrap-server {seen.bootstrap} …"
            if level is Level.WARNING
            else "",
        )
    if shape.leaderless:
        which = ", ".join(map(str, shape.leaderless))
        yield TopicFinding(
            plan.name, Level.WARNING, f"partition {which} has no leader: a broker is down"
        )


def _partitions(plan: TopicPlan, shape: TopicShape, seen: Observed) -> TopicFinding:
    if plan.like is None:
        return TopicFinding(
            plan.name,
            Level.REFUSAL,
            f"must have {plan.partitions} partition, because its rows are written to the first "
            f"one, found {shape.partitions}; make it again, or name another topic in [topics]",
        )
    must = (
        f"must have the {plan.partitions} partitions of {plan.like}, because a series has one "
        f"partition number in all topics; found {shape.partitions}"
    )
    if shape.partitions < plan.partitions:
        command = (
            f"kafka-topics.sh --bootstrap-server {seen.bootstrap} --alter --topic {plan.name} "
            f"--partitions {plan.partitions}"
        )
        return TopicFinding(plan.name, Level.REFUSAL, must, command)
    return TopicFinding(
        plan.name,
        Level.REFUSAL,
        f"{must}, and partitions cannot be taken away: use another app_id and base for a new set "
        "of topics, or delete this one",
    )


def _cleanup(plan: TopicPlan, config: Mapping[str, str], seen: Observed) -> Iterator[TopicFinding]:
    wanted, found = _policy(plan.config["cleanup.policy"]), _policy(config.get("cleanup.policy"))
    if wanted == found or not found:
        return
    said = f"cleanup.policy must be {_text(wanted)}, found {_text(found)}"
    loses = {
        Role.TICKS: "compaction leaves one tick of each series" if "compact" in found else "",
        Role.REJECTED: "compaction removes rejected ticks" if "compact" in found else "",
        Role.TABLE: (
            "deletion loses state"
            if "delete" in found
            else "without compaction every start reads all there ever was"
        ),
        Role.BARS: "",
    }[plan.role]
    mend = _alter(plan, seen, {"cleanup.policy": f"[{_text(wanted)}]"})
    if loses:
        yield TopicFinding(plan.name, Level.REFUSAL, f"{said}: {loses}", mend)
    else:
        unbounded = "delete" not in found
        why = "it grows for ever" if unbounded else "a key's older rows stay beside the newest"
        yield TopicFinding(plan.name, Level.WARNING, f"{said}: {why}", mend)


def _durability(
    plan: TopicPlan, config: Mapping[str, str], shape: TopicShape, seen: Observed
) -> Iterator[TopicFinding]:
    """What was acknowledged must not be lost with one broker."""
    if config.get("unclean.leader.election.enable") == "true":
        yield TopicFinding(
            plan.name,
            Level.WARNING,
            "unclean.leader.election.enable should be false, found true: a broker that lacks "
            "acknowledged records may become leader, and they are gone",
            _alter(plan, seen, {"unclean.leader.election.enable": "false"}),
        )
    found = int(config.get("min.insync.replicas", "1"))
    wanted = min(int(plan.config["min.insync.replicas"]), shape.replication)
    if found > shape.replication:
        copies = "copy" if shape.replication == 1 else "copies"
        yield TopicFinding(
            plan.name,
            Level.NOTE,
            f"min.insync.replicas is {found}, of {shape.replication} {copies}: brokers before 3.7 "
            "take no record that all are to have",
        )
    elif found < wanted:
        yield TopicFinding(
            plan.name,
            Level.WARNING,
            f"min.insync.replicas should be {wanted}, found {found}: a record is acknowledged when "
            f"{found} of {shape.replication} brokers has it, and gone with that one",
            _alter(plan, seen, {"min.insync.replicas": str(wanted)}),
        )
    elif found > wanted:
        yield TopicFinding(
            plan.name,
            Level.NOTE,
            f"min.insync.replicas is {found} of {shape.replication}: with one broker away nothing "
            "can be written",
        )


def _timestamps(
    plan: TopicPlan, config: Mapping[str, str], seen: Observed
) -> Iterator[TopicFinding]:
    kind = config.get("message.timestamp.type", "LogAppendTime")
    if kind == "LogAppendTime":
        return
    reasons = {
        "ticks": "a feed that stamps event times has its history deleted by age, a tick from the "
        "future is told by the clock of the worker that reads it, and whether a series is live "
        "only at the end of its partition",
        "heartbeats": "a heartbeat from a wrong clock is told by the broker's time",
    }
    why = reasons.get(plan.logical, "a record's time is that of a worker's clock, not the broker's")
    yield TopicFinding(
        plan.name,
        Level.WARNING,
        f"message.timestamp.type should be LogAppendTime, found {kind}: {why}",
        _alter(plan, seen, {"message.timestamp.type": "LogAppendTime"}),
    )


def _retention(
    plan: TopicPlan, config: Mapping[str, str], seen: Observed
) -> Iterator[TopicFinding]:
    if "delete" not in _policy(config.get("cleanup.policy")):
        return
    size = int(config.get("retention.bytes", "-1"))
    if size != -1:
        yield TopicFinding(
            plan.name,
            Level.WARNING,
            f"retention.bytes should be -1, found {size:,} a partition: what is loaded beyond that "
            "deletes what was loaded first",
            _alter(plan, seen, {"retention.bytes": "-1"}),
        )
    if plan.role is Role.TABLE:
        return
    wanted, kept = int(plan.config["retention.ms"]), int(config.get("retention.ms", "-1"))
    if kept == wanted:
        return
    said = f"retention.ms is {_days(kept)}, the settings say {_days(wanted)}"
    if kept != -1 and kept < wanted:
        yield TopicFinding(
            plan.name,
            Level.WARNING,
            f"{said}: older records are gone",
            _alter(plan, seen, {"retention.ms": str(wanted)}),
        )
    else:
        yield TopicFinding(plan.name, Level.NOTE, said)


def _size(plan: TopicPlan, config: Mapping[str, str], seen: Observed) -> Iterator[TopicFinding]:
    found = int(config.get(SETTING) or PLANNED_BYTES)
    if found >= PLANNED_BYTES:
        return
    mend = _alter(plan, seen, {SETTING: str(PLANNED_BYTES)})
    if found < FEWEST_BYTES and plan.role is not Role.TICKS:
        yield TopicFinding(
            plan.name,
            Level.REFUSAL,
            f"{SETTING} must be at least {FEWEST_BYTES:,}, found {found:,}: rows of the worker "
            "would not fit",
            mend,
        )
    elif plan.role is Role.REJECTED:
        yield TopicFinding(
            plan.name,
            Level.WARNING,
            f"{SETTING} should be {PLANNED_BYTES:,}, found {found:,}: larger ticks that are "
            "rejected are cut",
            mend,
        )
    else:
        yield TopicFinding(
            plan.name,
            Level.NOTE,
            f"{SETTING} is {found:,}: what is written goes in such batches",
        )


def _policy(text: str | None) -> frozenset[str]:
    return frozenset(part.strip() for part in (text or "").split(",") if part.strip())


def _text(policy: frozenset[str]) -> str:
    return ",".join(sorted(policy))


def _days(milliseconds: int) -> str:
    return "for ever" if milliseconds < 0 else f"{milliseconds / _DAY_MS:g} days"


def _alter(plan: TopicPlan, seen: Observed, config: Mapping[str, str]) -> str:
    """The command that changes settings of a topic and leaves its others as they are."""
    pairs = ",".join(f"{key}={value}" for key, value in config.items())
    return (
        f"kafka-configs.sh --bootstrap-server {seen.bootstrap} --alter --entity-type topics "
        f"--entity-name {plan.name} --add-config '{pairs}'"
    )
