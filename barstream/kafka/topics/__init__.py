"""The topics of a pipeline: names, plan, creation, check."""

from __future__ import annotations

from barstream.kafka.topics.creation import Creation, check, create, require
from barstream.kafka.topics.findings import Level, TopicCreationError, TopicFinding, TopicsError
from barstream.kafka.topics.names import TopicNames
from barstream.kafka.topics.plan import Role, TopicPlan, TopicShape, make_plan

__all__ = [
    "Creation",
    "Level",
    "Role",
    "TopicCreationError",
    "TopicFinding",
    "TopicNames",
    "TopicPlan",
    "TopicShape",
    "TopicsError",
    "check",
    "create",
    "make_plan",
    "require",
]
