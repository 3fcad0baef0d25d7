"""A Kafka cluster as one pipeline knows it: made once of the settings, and handed on as one."""

from __future__ import annotations

from functools import cached_property

from barstream.config import Settings
from barstream.kafka.connection import client_options
from barstream.kafka.topics.names import TopicNames


class Cluster:
    """How clients reach the brokers, and what the topics of the pipeline are called there.

    Args:
        settings: those in force.

    Attributes:
        options: keyword arguments of any aiokafka client, see `client_options`.

    Raises:
        ConfigError: a certificate or key cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.options = client_options(settings)

    @property
    def addresses(self) -> list[str]:
        """``host:port`` of the brokers that are asked first."""
        addresses: list[str] = self.options["bootstrap_servers"]
        return addresses

    @cached_property
    def names(self) -> TopicNames:
        """The names in force, see `TopicNames.of`; not every use of a cluster wants them."""
        return TopicNames.of(self.settings)
