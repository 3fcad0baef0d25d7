"""The embedded broker, for people with nothing installed (docs/decisions/0004)."""

from __future__ import annotations

from barstream.broker.embedded_broker import EmbeddedBroker
from barstream.broker.errors import EmbeddedBrokerError, PortTakenError

__all__ = ["EmbeddedBroker", "EmbeddedBrokerError", "PortTakenError"]
