"""Where the page of a sandbox is: at the usual address when that can be had."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from barstream.broker.embedded_broker import HOST
from barstream.config import WebSettings
from barstream.demo import sandbox
from barstream.demo.sandbox import usual_or_free_port
from tests.pipeline import free_port


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> int:
    """A usual port that nobody else uses."""
    port = free_port()
    monkeypatch.setattr(sandbox, "WebSettings", lambda: WebSettings(port=port))
    return port


@contextmanager
def chosen() -> Iterator[int]:
    """The port that a sandbox takes, while it runs."""
    with socket.socket(type=socket.SOCK_DGRAM) as claim:
        yield usual_or_free_port(claim)


def test_the_page_is_on_the_usual_port_unless_something_listens_there(usual: int) -> None:
    """A worker of one's own may run already; two pages at one address would end the second."""
    with chosen() as port:
        assert port == usual
    with socket.create_server((HOST, usual)), chosen() as port:
        assert port != usual


def test_of_two_that_start_together_one_has_the_usual_port(usual: int) -> None:
    """Neither of them listens yet."""
    with chosen() as first, chosen() as second:
        assert first == usual
        assert second != usual
    with chosen() as third:
        assert third == usual
