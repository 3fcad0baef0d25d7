"""What a topic that differs from the plan leads to: a refusal, a warning or a note."""

from __future__ import annotations

from dataclasses import replace

import pytest

from barstream.config import Settings
from barstream.kafka.topics import (
    Level,
    TopicFinding,
    TopicPlan,
    TopicsError,
    TopicShape,
    make_plan,
)
from barstream.kafka.topics.check import Observed, judge

PLANS = {plan.logical: plan for plan in make_plan(Settings())}


def looked_at(
    logical: str,
    shape: TopicShape | None = None,
    plan: TopicPlan | None = None,
    **changed: str,
) -> list[TopicFinding]:
    """Findings about a topic that is as planned but for its shape and the changed settings."""
    wanted = plan or PLANS[logical]
    settings = {key.replace("_", "."): value for key, value in changed.items()}
    config = {**wanted.config, **settings}
    shapes = {wanted.name: shape or TopicShape(wanted.partitions, wanted.replication)}
    return judge(wanted, Observed("kafka:9092", shapes, {wanted.name: config}))


def worst(findings: list[TopicFinding]) -> Level:
    return max((finding.level for finding in findings), key=list(Level).index)


@pytest.mark.parametrize("logical", PLANS)
def test_a_topic_as_planned_is_fine(logical: str) -> None:
    assert [finding.level for finding in looked_at(logical)] == [Level.OK]


@pytest.mark.parametrize("logical", PLANS)
def test_a_missing_topic_is_a_refusal_that_names_the_command(logical: str) -> None:
    findings = judge(PLANS[logical], Observed("kafka:9092", {}, {}))
    assert [(f.level, f.mend) for f in findings] == [(Level.REFUSAL, "barstream topics create")]


@pytest.mark.parametrize(
    "logical", ["ticks_rejected", "rate_1m_final", "rate_1m_live", "heartbeats", "series"]
)
def test_other_partitions_than_the_ticks_are_a_refusal(logical: str) -> None:
    for partitions in (3, 5):
        assert worst(looked_at(logical, TopicShape(partitions, 1))) is Level.REFUSAL


def test_too_few_partitions_can_be_mended_too_many_cannot() -> None:
    assert "--partitions 4" in looked_at("series", TopicShape(3, 1))[0].mend
    assert looked_at("series", TopicShape(5, 1))[0].mend == ""


def test_another_replication_of_heartbeats_than_of_bars_is_a_warning() -> None:
    wanted = replace(PLANS["heartbeats"], replication=3)
    for copies in (1, 5):
        findings = looked_at("heartbeats", TopicShape(4, copies), wanted)
        assert worst(findings) is Level.WARNING
        assert "rate_1m_final has replication 3" in findings[0].message


def test_fewer_copies_than_configured_are_a_warning_more_a_note() -> None:
    wanted = replace(PLANS["series"], replication=3)
    assert worst(looked_at("series", TopicShape(4, 1), wanted)) is Level.WARNING
    assert worst(looked_at("series", TopicShape(4, 5), wanted)) is Level.NOTE


def test_a_partition_without_a_leader_is_a_warning() -> None:
    findings = looked_at("ticks", TopicShape(4, 1, leaderless=(2,)))
    assert worst(findings) is Level.WARNING
    assert "partition 2" in findings[0].message


@pytest.mark.parametrize("logical", ["series", "series_seen", "market_schedule"])
@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_a_table_that_deletes_is_a_refusal(logical: str, policy: str) -> None:
    findings = looked_at(logical, cleanup_policy=policy)
    assert worst(findings) is Level.REFUSAL
    assert "loses state" in str(findings[0])
    assert "cleanup.policy=[compact]" in findings[0].mend


@pytest.mark.parametrize("logical", ["ticks", "ticks_rejected"])
@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_compacted_ticks_are_a_refusal(logical: str, policy: str) -> None:
    assert worst(looked_at(logical, cleanup_policy=policy)) is Level.REFUSAL


@pytest.mark.parametrize("logical", ["rate_1m_final", "rate_1m_live", "heartbeats"])
@pytest.mark.parametrize("policy", ["compact", "delete"])
def test_bars_cleaned_otherwise_are_a_warning(logical: str, policy: str) -> None:
    assert worst(looked_at(logical, cleanup_policy=policy)) is Level.WARNING


def test_the_order_of_cleanup_policies_does_not_matter() -> None:
    assert worst(looked_at("rate_1m_final", cleanup_policy="delete, compact")) is Level.OK


@pytest.mark.parametrize("logical", PLANS)
def test_create_time_is_a_warning_with_the_command_that_mends_it(logical: str) -> None:
    findings = looked_at(logical, message_timestamp_type="CreateTime")
    assert [finding.level for finding in findings] == [Level.WARNING]
    assert "message.timestamp.type=LogAppendTime" in findings[0].mend
    assert PLANS[logical].name in findings[0].mend


def test_ticks_stamped_by_their_producer_are_said_to_be_deleted_by_age() -> None:
    said = looked_at("ticks", message_timestamp_type="CreateTime")[0].message
    assert "deleted by age" in said
    assert "the clock of the worker" in said


@pytest.mark.parametrize(
    ("logical", "most", "level"),
    [
        ("ticks", 20_000, Level.OK),
        ("rate_1m_final", 200_000, Level.OK),
        ("rate_1m_final", 65_535, Level.REFUSAL),
        ("series", 65_536, Level.OK),
        ("ticks_rejected", 200_000, Level.WARNING),
        ("ticks_rejected", 65_535, Level.REFUSAL),
        ("ticks_rejected", 2_000_000, Level.OK),
    ],
)
def test_a_topic_that_takes_small_batches_alone_is_told(
    logical: str, most: int, level: Level
) -> None:
    findings = looked_at(logical, max_message_bytes=str(most))
    assert findings[0].level is level
    assert any("max.message.bytes" in each.message for each in findings) is (most < 1_048_588)
    if level is not Level.OK:
        assert "max.message.bytes=1048588" in findings[0].mend


@pytest.mark.parametrize("logical", ["ticks", "rate_1m_final", "rate_1m_live", "heartbeats"])
def test_less_retention_than_the_settings_say_is_a_warning_more_a_note(logical: str) -> None:
    short = looked_at(logical, retention_ms="604800000")
    assert worst(short) is Level.WARNING
    assert "7 days" in short[0].message
    assert "retention.ms=2592000000" in short[0].mend
    assert worst(looked_at(logical, retention_ms="-1")) is Level.NOTE


@pytest.mark.parametrize("logical", ["ticks", "rate_1m_final"])
def test_a_limit_by_size_would_eat_what_is_loaded(logical: str) -> None:
    assert worst(looked_at(logical, retention_bytes="1000000")) is Level.WARNING


def test_settings_that_cannot_be_read_are_a_note_and_the_shape_is_still_judged() -> None:
    plan = PLANS["series"]
    seen = Observed("kafka:9092", {plan.name: TopicShape(4, 1)}, {}, "TopicAuthorizationFailed")
    assert [finding.level for finding in judge(plan, seen)] == [Level.OK, Level.NOTE]
    seen = replace(seen, shapes={plan.name: TopicShape(3, 1)})
    assert worst(judge(plan, seen)) is Level.REFUSAL


def test_the_error_shows_refusals_and_keeps_everything() -> None:
    findings = [
        TopicFinding("a", Level.WARNING, "odd"),
        TopicFinding("b", Level.REFUSAL, "wrong", "mend it"),
    ]
    error = TopicsError(findings)
    assert str(error) == "topic b: wrong; mend it with `mend it`"
    assert error.findings == findings


def test_a_leader_that_may_lack_acknowledged_records_is_a_warning() -> None:
    for logical in ("ticks", "rate_1m_final", "series"):
        (finding,) = looked_at(logical, unclean_leader_election_enable="true")
        assert finding.level is Level.WARNING
        assert finding.mend.endswith("--add-config 'unclean.leader.election.enable=false'")


@pytest.mark.parametrize(
    ("replication", "in_sync", "level"),
    [
        (1, "1", Level.OK),
        (1, "2", Level.NOTE),
        (2, "1", Level.OK),
        (2, "2", Level.NOTE),
        (3, "1", Level.WARNING),
        (3, "2", Level.OK),
        (3, "3", Level.NOTE),
        (3, "4", Level.NOTE),
    ],
)
def test_an_acknowledged_record_outlives_one_broker_and_can_be_written_without_it(
    replication: int, in_sync: str, level: Level
) -> None:
    settings = Settings.model_validate({"topics": {"replication": replication}})
    plans = {plan.logical: plan for plan in make_plan(settings)}
    for logical in ("ticks", "rate_1m_final", "series"):
        plan = plans[logical]
        shape = TopicShape(plan.partitions, replication)
        assert worst(looked_at(logical, shape, plan, min_insync_replicas=in_sync)) is level
