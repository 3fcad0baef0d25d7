"""The port of a sandbox's page: looked at before anything is started."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from barstream.broker.embedded_broker import HOST
from barstream.demo.sandbox import Sandbox, SandboxError


def test_a_port_that_was_asked_for_and_is_taken_is_refused_before_anything_is_started(
    tmp_path: Path,
) -> None:
    async def enter(port: int) -> None:
        async with Sandbox(tmp_path, "app", port):
            raise AssertionError("it must not start")

    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(SandboxError, match=f"port {port} of {HOST} must be free for the page"):
            asyncio.run(enter(port))
    assert list(tmp_path.iterdir()) == []
