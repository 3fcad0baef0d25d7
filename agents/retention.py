"""Bars that Kafka has deleted go from the disk of this worker, too."""

from __future__ import annotations

from barstream.kafka.cluster import Cluster
from barstream.runtime.app import BarstreamApp
from barstream.runtime.assignment import Assignment
from barstream.runtime.retention import RetentionService


def declare(app: BarstreamApp, partitions: Assignment, cluster: Cluster) -> None:
    """Register who looks for them."""
    app.first_services = (*app.first_services, RetentionService(partitions, cluster))
