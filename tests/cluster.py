"""A cluster as our own code is given it, of an address alone."""

from __future__ import annotations

from typing import Any, Final

from barstream.config import load_settings
from barstream.kafka.cluster import Cluster

#: Nothing listens there.
NOWHERE: Final = "127.0.0.1:9"


def cluster_at(bootstrap: str = NOWHERE, **options: Any) -> Cluster:
    """Topics have the names of the defaults; ``options`` are added to those of its clients."""
    cluster = Cluster(load_settings(env={}, overrides={"bootstrap": bootstrap}))
    cluster.options |= options
    return cluster
