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
    assert Sandbox(tmp_path, "demo").url == f"http://{HOST}:{usual}/"
    with socket.create_server((HOST, usual)):
        assert Sandbox(tmp_path, "demo").url != f"http://{HOST}:{usual}/"
        assert Sandbox(tmp_path, "demo", 7777).url == f"http://{HOST}:7777/"
