"""Whatever is asked, the answer is bounded, in time, and no failure of the worker."""

from __future__ import annotations

import json
import socket
import time
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from barstream.model.bar_request import MAX_PAGE
from tests.examples import examples

from .web_worker import WebWorker

WITHIN_S: Final = 5.0
LARGEST: Final = 8 << 20
#: A longer line is refused by the server's parser, in words of its own.
_LONGEST: Final = 8_000
#: 503: a request that says it was passed on is refused for what is not here.
ALLOWED: Final = {200, 400, 404, 405, 421, 503}

ROUGH: Final = settings(
    max_examples=examples(400),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

odd = st.one_of(
    st.text(max_size=40),
    st.text("0123456789-:TZ+. ", max_size=30),
    st.sampled_from(
        [
            "", "0", "-1", "1", "500", "10000", "10001", "99999999999999999999", "1e9", "NaN",
            "1m", "5m", "1h", "1M", "0m", "1mo", "4h+1h", "1h@session", "asc", "desc", "allow",
            "2024-03-04T10:30:00Z", "2024-03-04", "0000-00-00", "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00+23:59", "2024-03-04T10:30:00 05:00", "\0", "\ud800", "%", "%%%",
            "../../etc/passwd", "FX", "EURUSD", "fx ", "RlgARVVSVVNE", "A" * 5000,
        ]
    ),
)  # fmt: skip
names = st.one_of(st.sampled_from(["FX", "EURUSD", "fx", "eurusd ", "NO"]), odd)
queries = st.lists(
    st.tuples(
        st.one_of(
            st.sampled_from(["timeframe", "from", "to", "limit", "order", "after", "partial"]), odd
        ),
        odd,
    ),
    max_size=8,
)
bases = st.sampled_from(
    ["bars", "live", "series", "where", "schedule", "status", "metrics", "health", "static", ""]
)
header_values = st.one_of(
    # what the parser lets through; what it does not is below, among the bytes
    st.text(
        st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60
    ),
    st.sampled_from(["1", "0", "0,1,2", "-1", "²", ",,,", "0," * 3000, "9" * 400, "*/*", "gzip"]),
)
headers = st.dictionaries(
    st.sampled_from(
        [
            "X-Barstream-Forwarded", "X-Barstream-Partitions", "Accept", "Authorization",
            "If-Modified-Since", "If-None-Match", "Range", "Content-Length-X", "Cookie",
            "Accept-Encoding", "Expect-X",
        ]
    ),
    header_values,
    max_size=4,
)  # fmt: skip


def escaped(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def target_of(base: str, parts: list[str], query: list[tuple[str, str]]) -> str:
    path = "/" + "/".join([base, *map(escaped, parts)])
    pairs = "&".join(f"{escaped(name)}={escaped(value)}" for name, value in query)
    return f"{path}?{pairs}" if pairs else path


def ask(worker: WebWorker, request: bytes) -> tuple[int, bytes]:
    """Status and whole answer to bytes sent as they are."""
    host, port = worker.url.removeprefix("http://").split(":")
    began = time.monotonic()
    answer = b""
    with socket.create_connection((host, int(port)), timeout=WITHIN_S) as connection:
        connection.sendall(request)
        while part := connection.recv(1 << 16):
            answer += part
            assert len(answer) < LARGEST, request[:200]
    assert time.monotonic() - began < WITHIN_S, request[:200]
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0, answer


def raw(target: str, extra: dict[str, str], method: str = "GET") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in extra.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


@ROUGH
@given(bases, st.lists(names, max_size=3), queries, headers)
@example("bars", ["FX", "EURUSD"], [("from", "0001-01-01T00:00:00+23:59")], {})
@example("bars", ["FX", "EURUSD"], [("to", "9999-12-31T23:59:59-23:59")], {})
@example("bars", [], [("after", "////")], {"X-Barstream-Forwarded": "1"})
@example("bars", [], [], {"X-Barstream-Forwarded": "1", "X-Barstream-Partitions": "²"})
@example("series", [], [], {"X-Barstream-Forwarded": "1", "X-Barstream-Partitions": "9" * 400})
@example("schedule", ["FX", "EURUSD"], [("from", "9999-12-31T23:59:59Z"), ("limit", "1")], {})
@example("metrics", [], [], {"Accept": "application/openmetrics-text; version=9.9.9; q=x"})
@example("static", ["A" * 4_000], [], {})
def test_no_request_makes_the_worker_fail_or_hang_or_talk_without_end(
    shared_worker: WebWorker,
    base: str,
    parts: list[str],
    query: list[tuple[str, str]],
    extra: dict[str, str],
) -> None:
    target = target_of(base, parts, query)
    status, answer = ask(shared_worker, raw(target, extra))
    is_static = base in ("static", "")
    assert status in (ALLOWED | {206, 304, 403, 416} if is_static else ALLOWED), answer[:300]
    if status == 200 and base == "bars":
        body = json.loads(answer.split(b"\r\n\r\n", 1)[1])
        assert len(body["bars"]) <= MAX_PAGE
    is_ours = base in ("bars", "live", "series", "where", "schedule")
    if status in (400, 404, 421, 503) and is_ours and len(target) < _LONGEST:
        assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]


@ROUGH
@given(st.binary(max_size=400), st.booleans())
@example(b"GET /bars/" + b"A" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close", True)
@example(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2_000 + b"Connection: close", True)
@example(b"POST /bars HTTP/1.1\r\nContent-Length: -5\r\nConnection: close", True)
@example(b"GET /bars/\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close", True)
@example(b"GET http://elsewhere/status HTTP/1.1\r\nHost: localhost\r\nConnection: close", True)
def test_bytes_that_are_no_request_are_refused_and_leave_the_worker_as_it_was(
    shared_worker: WebWorker, request: bytes, ended: bool
) -> None:
    host, port = shared_worker.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=WITHIN_S) as connection:
        connection.sendall(request + (b"\r\n\r\n" if ended else b""))
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    assert not answer.startswith((b"HTTP/1.1 5", b"HTTP/1.0 5")), answer[:200]
    assert b"Traceback" not in answer
    assert shared_worker.get("/health/live") == (200, {"live": True})


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"])
def test_nothing_can_be_changed_by_any_method(shared_worker: WebWorker, method: str) -> None:
    for path in ("/bars/FX/EURUSD", "/series", "/status", "/", "/nothing"):
        status, answer = ask(shared_worker, raw(path, {}, method))
        assert status in (400, 404, 405), answer[:200]
