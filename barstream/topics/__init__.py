"""The topics of a pipeline: names, plan, creation, check."""

from __future__ import annotations

from barstream.topics.ensure import Creation, check, create, require
from barstream.topics.findings import Finding, Level, TopicCreationError, TopicsError
from barstream.topics.names import TopicNames
from barstream.topics.plan import Role, TopicPlan, TopicShape, make_plan

__all__ = [
    "Creation",
    "Finding",
    "Level",
    "Role",
    "TopicCreationError",
    "TopicNames",
    "TopicPlan",
    "TopicShape",
    "TopicsError",
    "check",
    "create",
    "make_plan",
    "require",
]
