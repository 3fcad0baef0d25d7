"""Why the embedded broker does not run, and what to do."""

from __future__ import annotations

from barstream.errors import BarstreamError


class EmbeddedBrokerError(BarstreamError):
    """The embedded broker cannot run here; the message says why and what to do instead."""


class PortTakenError(EmbeddedBrokerError):
    """Something listens on the port: use it if it is a Kafka, else choose another port."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"the broker needs port {port} of {host}, but something listens there already: if "
            "that is Kafka, nothing needs to be started; else choose another one (--port)"
        )
