"""Where the page of a sandbox is: at the usual address when that can be had."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from barstream.broker.embedded import HOST, free_port
from barstream.config import WebSettings
from barstream.demo import sandbox
from barstream.demo.sandbox import Sandbox


def test_the_page_is_on_the_usual_port_unless_something_listens_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker of one's own may run already; two pages at one address would end the second."""
    usual = free_port()
    monkeypatch.setattr(sandbox, "WebSettings", lambda: WebSettings(port=usual))
    free = Sandbox(tmp_path, "demo")
    assert (free.url, free.port_note) == (f"http://{HOST}:{usual}/", "")
    with socket.create_server((HOST, usual)):
        moved = Sandbox(tmp_path, "demo")
        assert moved.url != f"http://{HOST}:{usual}/"
        assert moved.port_note == f"Port {usual} is taken, so the page is at another."
        given = Sandbox(tmp_path, "demo", 7777)
        assert (given.url, given.port_note) == (f"http://{HOST}:7777/", "")
