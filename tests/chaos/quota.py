"""A broker that takes few bytes a second from producers: output is stuck, ticks flow."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.kafka_jars import ensure_jars, find_program


@contextmanager
def producer_quota(bootstrap: str, bytes_per_s: int) -> Iterator[None]:
    """No producer may write more than ``bytes_per_s`` while this is entered."""
    _alter(bootstrap, "--add-config", f"producer_byte_rate={bytes_per_s}")
    try:
        yield
    finally:
        _alter(bootstrap, "--delete-config", "producer_byte_rate")


def _alter(bootstrap: str, *change: str) -> None:
    done = subprocess.run(
        [
            find_program("java", "set a quota"), "-cp", f"{ensure_jars()}/*",
            "kafka.admin.ConfigCommand", "--bootstrap-server", bootstrap, "--alter",
            "--entity-type", "clients", "--entity-default", *change,
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
