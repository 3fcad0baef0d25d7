"""A broker that takes few bytes a second from producers: output is stuck, ticks flow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.kafka_jars import run_tool


@contextmanager
def producer_quota(bootstrap: str, bytes_per_s: int) -> Iterator[None]:
    """No producer may write more than ``bytes_per_s`` while this is entered."""
    _alter(bootstrap, "--add-config", f"producer_byte_rate={bytes_per_s}")
    try:
        yield
    finally:
        _alter(bootstrap, "--delete-config", "producer_byte_rate")


def _alter(bootstrap: str, *change: str) -> None:
    who = ("--entity-type", "clients", "--entity-default")
    run_tool("kafka.admin.ConfigCommand", bootstrap, "--alter", *who, *change)
