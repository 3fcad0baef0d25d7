"""Several workers over real HTTP: each answers for all, or says which part it cannot answer."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from typing import Any

import aiohttp
import pytest

from barstream.client.worker_client import cause_of
from barstream.model.bar import Bar
from barstream.model.bar_request import (
    BarRequest,
    BarsUnavailableError,
    UnknownPeriodError,
    UnknownSeriesError,
)
from barstream.model.period import MINUTE
from barstream.model.time import MINUTE_US
from barstream.serve import owner
from barstream.serve.reads import NotHereError, Owner, Readiness
from tests.pipeline import free_port

from .conftest import TEN_US
from .memory_reads import FIVE, MemoryReads, Series, make_bar
from .web_worker import WebWorker, web_worker

#: Symbols that sort across the workers, so that a merge has to take from each in turn.
SYMBOLS = ("A", "B", "C", "D", "E", "F", "S", "S2")
BARS = 6


@dataclass
class Cluster:
    """Workers that share one view of who holds what: symbol number n is in partition n mod 4."""

    workers: list[WebWorker] = field(default_factory=list)
    partition_of: dict[Series, int] = field(default_factory=dict)
    holders: dict[int, str | None] = field(default_factory=dict)

    @property
    def every_bar(self) -> list[tuple[str, int]]:
        return [(symbol, minute) for symbol in SYMBOLS for minute in range(BARS)]

    def other(self, partition: int) -> WebWorker:
        """A worker that does not hold it."""
        return next(w for w in self.workers if partition not in w.reads.here)

    def holder(self, partition: int) -> WebWorker:
        return next(w for w in self.workers if partition in w.reads.here)


def filled(cluster: Cluster, here: set[int]) -> MemoryReads:
    reads = MemoryReads(partition_of=cluster.partition_of, holders=cluster.holders, here=here)
    for number, symbol in enumerate(SYMBOLS):
        cluster.partition_of["FX", symbol] = number % 4
        if number % 4 in here:
            reads.add(*(bar_of(symbol, minute) for minute in range(BARS)))
            reads.add(make_bar(TEN_US, 2.0 + number, symbol=symbol), period=FIVE)
    return reads


def bar_of(symbol: str, minute: int) -> Bar:
    start_us = TEN_US + minute * MINUTE_US
    return make_bar(start_us, 1 + minute / 100, symbol=symbol, final=minute < BARS - 1)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    with ExitStack() as stack:
        for here in ({0, 3}, {1}, {2}):
            made.workers.append(stack.enter_context(web_worker(filled(made, here))))
            made.holders |= dict.fromkeys(here, made.workers[-1].url)
        yield made


def named(body: dict[str, Any]) -> list[tuple[str, int]]:
    return [(bar["symbol"], int(bar["bucket_start"][14:16])) for bar in body["bars"]]


def routed(worker: WebWorker, result: str) -> float:
    found = worker.metrics.registry.get_sample_value
    return found("barstream_routed_reads_total", {"result": result}) or 0.0


@pytest.mark.parametrize("path", ["/bars/FX/B", "/bars/fx/b?timeframe=5m", "/live/FX/B"])
def test_every_worker_gives_the_same_bytes_and_says_who_answered(
    cluster: Cluster, path: str
) -> None:
    answers = [worker.raw(path) for worker in cluster.workers]
    assert {status for status, _, _ in answers} == {200}
    assert len({body for _, _, body in answers}) == 1
    owner = cluster.holder(1)
    assert {headers["X-Barstream-Worker"] for _, headers, _ in answers} == {owner.url}
    assert json.loads(answers[0][2])["bars"]


def test_a_refusal_of_the_owner_is_passed_on_as_it_is(cluster: Cluster) -> None:
    wrong = [worker.get("/bars/FX/B?limit=0") for worker in cluster.workers]
    assert [status for status, _ in wrong] == [400] * 3
    unknown = [worker.get("/bars/FX/NOSUCH") for worker in cluster.workers]
    assert [status for status, _ in unknown] == [404] * 3


def test_names_that_need_escaping_arrive_as_they_were_asked(cluster: Cluster) -> None:
    symbol = "EUR/USD %2F+ Ä"
    owner = cluster.holder(2)
    cluster.partition_of["FX", symbol] = 2
    owner.reads.add(bar_of(symbol, 0))
    for worker in cluster.workers:
        status, body = worker.get("/bars/FX/EUR%2FUSD%20%252F+%20%C3%84?limit=1")
        assert (status, body["symbol"], len(body["bars"])) == (200, symbol, 1)


@pytest.mark.parametrize("path", ["/bars/FX/B", "/bars?limit=3", "/live", "/series"])
def test_a_target_with_a_host_in_it_is_passed_on_as_one_without(
    cluster: Cluster, path: str
) -> None:
    """So do proxies ask, and every server has to take it (RFC 9112, 3.2.2)."""
    worker = cluster.other(1)
    host, port = worker.url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=10)
    connection.request("GET", f"http://localhost{path}")
    answer = connection.getresponse()
    body = json.loads(answer.read())
    assert (answer.status, body) == worker.get(path)
    assert answer.status == 200


def test_where_names_the_worker_that_holds_a_series(cluster: Cluster) -> None:
    for worker in cluster.workers:
        _, body = worker.get("/where/fx/b")
        assert (body["partition"], body["url"]) == (1, cluster.holder(1).url)
        assert body["here"] == (1 in worker.reads.here)
        assert body["worker"] == worker.url
        assert worker.get(f"/where/FX/{SYMBOLS[2]}")[1]["partition"] == 2
    assert worker.get("/where/FX/NOSUCH")[0] == 404
    worker.reads.readiness = Readiness(False, ["restoring"])
    status, body = worker.get("/where/FX/B")
    assert (status, body["partition"], body["ready"]) == (200, 1, False)
    assert worker.get("/where/FX/NOSUCH")[0] == 503


def test_a_request_is_passed_on_once_even_when_two_workers_name_each_other(
    cluster: Cluster,
) -> None:
    """Each believes the other has it: without a guard the request would go round for ever."""
    first, second = cluster.workers[:2]
    first.reads.holders = {1: second.url}
    second.reads.holders = {1: first.url}
    second.reads.here = set()
    status, body = first.get("/bars/FX/B")
    assert status == 503
    assert "does not, it is moving" in body["error"]
    assert (body["partition"], body["url"]) == (1, second.url)
    assert (routed(first, "moved"), routed(second, "moved")) == (1, 0)
    status, _, _ = second.raw("/bars/FX/B", headers={"X-Barstream-Forwarded": "1"})
    assert status == 421


def test_a_worker_given_a_partition_it_does_not_hold_yet_asks_nobody(cluster: Cluster) -> None:
    worker = cluster.holder(1)
    worker.reads.here = set()
    status, body = worker.get("/bars/FX/B")
    assert status == 503
    assert "no worker is known to hold it" in body["error"]


@pytest.mark.parametrize("gone", ["moved", "dead"])
def test_a_series_that_moved_is_asked_for_once_more_where_it_is_now(
    cluster: Cluster, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, new = cluster.workers[0], cluster.workers[2]
    old = cluster.holder(1).url if gone == "moved" else f"http://127.0.0.1:{free_port()}"
    cluster.holder(1).reads.here = set()
    new.reads.here = {1, 2}
    new.reads.add(bar_of("B", 0))
    owners = iter([Owner(1, here=False, url=old)])
    found = worker.reads.owner
    monkeypatch.setattr(worker.reads, "owner", lambda *name: next(owners, None) or found(*name))
    cluster.holders[1] = new.url
    status, headers, _ = worker.raw("/bars/FX/B")
    assert (status, headers["X-Barstream-Worker"]) == (200, new.url)


def test_a_series_that_has_come_here_while_its_owner_was_asked_is_read_here(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, gone = cluster.workers[0], f"http://127.0.0.1:{free_port()}"
    worker.reads.here |= {1}
    worker.reads.add(bar_of("B", 0))
    found, owners = worker.reads.owner, list[Owner]()
    known = lambda *name: owners.pop() if owners else found(*name)  # noqa: E731
    monkeypatch.setattr(worker.reads, "owner", known)
    owners.append(Owner(1, here=False, url=gone))
    status, headers, body = worker.raw("/bars/FX/B")
    assert (status, headers["X-Barstream-Worker"]) == (200, worker.url)
    assert len(json.loads(body)["bars"]) == 1
    owners.append(Owner(1, here=False, url=gone))
    assert worker.page(request(symbol="B")).bars == [bar_of("B", 0)]


def test_an_owner_that_recovers_is_named_with_its_reasons(cluster: Cluster) -> None:
    owner, worker = cluster.holder(1), cluster.other(1)
    owner.reads.readiness = Readiness(False, ["tables are being restored"])
    status, body = worker.get("/bars/FX/B")
    assert status == 503
    assert f"{owner.url}, which holds it, is not ready: tables are being restored" in body["error"]
    assert (body["partition"], body["url"]) == (1, owner.url)
    assert body["reasons"] == ["tables are being restored"]
    assert "ask again" in body["what_to_do"]


@contextmanager
def silent_worker() -> Iterator[str]:
    """It takes connections and never answers, as a frozen process does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_an_owner_that_does_not_answer_costs_a_bounded_time(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert owner.WITHIN_S == 5.0
    monkeypatch.setattr(owner, "WITHIN_S", 0.5)
    worker = cluster.other(1)
    with silent_worker() as url:
        cluster.holders[1] = url
        for path in ("/bars/FX/B", "/bars", "/live", "/series"):
            began = time.monotonic()
            status, body = worker.get(path)
            took = time.monotonic() - began
            assert (status, took < 3) == (503, True)
            assert "did not answer within" in body["error"]
    assert routed(worker, "timed_out") == 4


def test_an_owner_that_is_gone_is_named(cluster: Cluster) -> None:
    worker, url = cluster.other(1), f"http://127.0.0.1:{free_port()}"
    cluster.holders[1] = url
    status, body = worker.get("/bars/FX/B")
    assert (status, body["url"], body["partition"]) == (503, url, 1)
    assert "cannot be reached" in body["error"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (socket.gaierror(-2, "Name or service not known"), "name or service not known"),
        (ConnectionRefusedError(111, "x"), "connection refused"),
    ],
)
def test_why_a_worker_cannot_be_reached_is_told_as_the_system_calls_it(
    error: OSError, said: str
) -> None:
    """The resolver has numbers of its own: -2 is no error of the system."""
    kind = aiohttp.ClientConnectorDNSError if error.errno == -2 else aiohttp.ClientConnectorError
    key: Any = None
    assert cause_of(kind(key, error)) == said


def test_bars_of_every_series_come_in_the_order_of_their_keys(cluster: Cluster) -> None:
    for worker in cluster.workers:
        for path in ("/bars", "/bars/FX"):
            status, body = worker.get(path)
            assert (status, body["complete"], body["truncated"]) == (200, True, False)
            assert named(body) == cluster.every_bar
            assert body["missing"] == []
        _, body = worker.get("/bars?order=desc")
        assert named(body) == cluster.every_bar[::-1]
        _, body = worker.get("/bars?from=2024-03-04T10:02:00Z&to=2024-03-04T10:03:00Z")
        assert named(body) == [(symbol, 2) for symbol in SYMBOLS]
        _, body = worker.get("/bars/LSE")
        assert (body["bars"], body["complete"]) == ([], True)
        _, body = worker.get("/bars?timeframe=5m")
        assert named(body) == [(symbol, 0) for symbol in SYMBOLS]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 5, 6, 7, 47, 48])
def test_pages_of_every_series_have_each_bar_once(cluster: Cluster, order: str, limit: int) -> None:
    """Whichever worker is asked for the next page; a page may end inside or between series."""
    after, seen, turn = "", [], 0
    while True:
        worker = cluster.workers[turn % 3]
        _, body = worker.get(f"/bars?limit={limit}&order={order}{after}")
        seen += named(body)
        assert len(body["bars"]) <= limit
        if not body["truncated"]:
            break
        after, turn = f"&after={body['next_after']}", turn + 1
    assert seen == (cluster.every_bar if order == "asc" else cluster.every_bar[::-1])


def test_a_page_of_one_series_goes_on_after_its_mark(cluster: Cluster) -> None:
    worker = cluster.workers[0]
    _, first = worker.get("/bars/FX/B?limit=4")
    _, rest = worker.get(f"/bars/FX/B?after={first['next_after']}")
    assert named(first) + named(rest) == [("B", minute) for minute in range(BARS)]


def test_open_bars_and_the_series_list_are_gathered_too(cluster: Cluster) -> None:
    for worker in cluster.workers:
        for path in ("/live", "/live/fx"):
            _, body = worker.get(path)
            assert named(body) == [(symbol, BARS - 1) for symbol in SYMBOLS]
            assert body["complete"] is True
        _, body = worker.get("/series")
        assert [row["symbol"] for row in body["series"]] == list(SYMBOLS)
        for row in body["series"]:
            assert row["watermark"] is not None
            owner = cluster.holder(row["partition"])
            assert (row["here"], row["url"]) == (
                (True, None) if owner is worker else (False, owner.url)
            )


@pytest.mark.parametrize("limit", [1, 3, 8, 9])
@pytest.mark.parametrize("path", ["/live", "/live/fx", "/series"])
def test_lists_are_given_page_by_page_whoever_is_asked(
    cluster: Cluster, path: str, limit: int
) -> None:
    name = path.strip("/").partition("/")[0].replace("live", "bars")
    whole = cluster.workers[0].get(path)[1]
    assert (whole["truncated"], "next_after" in whole) == (False, False)
    rows, after, turn = [], "", 0
    while True:
        worker = cluster.workers[turn % 3]
        status, body = worker.get(f"{path}?limit={limit}{after}")
        assert (status, body["complete"]) == (200, True)
        assert len(body[name]) <= limit
        rows += body[name]
        if not body["truncated"]:
            break
        assert len(body[name]) == limit
        after, turn = f"&after={body['next_after']}", turn + 1
    assert "next_after" not in body
    assert [row["symbol"] for row in rows] == list(SYMBOLS)
    assert turn == (len(SYMBOLS) - 1) // limit


def test_series_of_a_worker_that_is_gone_stand_in_their_places(cluster: Cluster) -> None:
    kill_holder(cluster)
    rows, after = [], ""
    for _ in range(len(SYMBOLS)):
        _, body = cluster.workers[0].get(f"/series?partial=allow&limit=1{after}")
        rows += body["series"]
        after = f"&after={body.get('next_after')}"
    assert [row["symbol"] for row in rows] == list(SYMBOLS)
    assert not body["truncated"]


@pytest.mark.parametrize("partitions", ["9" * 5_000, "x", ",,", "-1", "1e3"])
def test_partitions_that_no_worker_asks_for_are_no_defect(
    cluster: Cluster, partitions: str
) -> None:
    headers = {"X-Barstream-Forwarded": "1", "X-Barstream-Partitions": partitions}
    assert cluster.workers[0].raw("/bars", headers=headers)[0] in {200, 421}


Breaking = Callable[[Cluster], object]


def kill_holder(cluster: Cluster) -> None:
    cluster.holders[1] = f"http://127.0.0.1:{free_port()}"


def let_recover(cluster: Cluster) -> None:
    cluster.holder(1).reads.readiness = Readiness(False, ["restoring"])


def let_lose(cluster: Cluster) -> None:
    """It was given the partition, and another worker took it over."""
    cluster.holder(1).reads.here = set()


def let_nobody_hold(cluster: Cluster) -> None:
    cluster.holders[1] = None


@pytest.mark.parametrize("harm", [kill_holder, let_recover, let_lose, let_nobody_hold])
@pytest.mark.parametrize("path", ["/bars", "/bars/FX", "/live", "/live/FX", "/series"])
def test_a_part_nobody_answers_for_is_an_error_that_names_it(
    cluster: Cluster, harm: Breaking, path: str
) -> None:
    worker = cluster.workers[0]
    harm(cluster)
    status, body = worker.get(path)
    assert status == 503
    assert body["complete"] is False
    assert [(each["partition"], each["url"]) for each in body["missing"]] == [
        (1, cluster.holders[1])
    ]
    assert "bars" not in body
    assert "partial=allow" in body["what_to_do"]

    status, body = worker.get(f"{path}?partial=allow")
    assert (status, body["complete"]) == (200, False)
    assert [each["partition"] for each in body["missing"]] == [1]
    without = [s for number, s in enumerate(SYMBOLS) if number % 4 != 1]
    if path == "/series":
        assert [row["symbol"] for row in body["series"]] == list(SYMBOLS)
    else:
        assert sorted({bar["symbol"] for bar in body["bars"]}) == without


def test_a_partition_that_moves_while_all_are_gathered_is_asked_for_where_it_went(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, old, new = cluster.workers[0], cluster.holder(1), cluster.holder(2)
    current = worker.reads.placement
    stale = iter([replace(current(), holders=dict(cluster.holders))])
    old.reads.here = set()
    new.reads.here = {1, 2}
    for symbol in ("B", "F"):
        new.reads.add(*(bar_of(symbol, minute) for minute in range(BARS)))
    cluster.holders[1] = new.url
    monkeypatch.setattr(worker.reads, "placement", lambda: next(stale, None) or current())
    status, body = worker.get("/bars")
    assert (status, named(body)) == (200, cluster.every_bar)


class Leaving(MemoryReads):
    """It loses its partitions between the first and the second series it reads."""

    def bars(self, *args: Any, **kwargs: Any) -> Any:
        found = super().bars(*args, **kwargs)
        self.here = set()
        return found

    def live(self, *args: Any, **kwargs: Any) -> Any:
        found = super().live(*args, **kwargs)
        self.here = set()
        return found


def test_a_worker_that_loses_a_partition_in_the_middle_answers_no_part_of_it() -> None:
    """Both ways of noticing: the next series is not there, and nothing is there at the end."""
    for symbols in (("A",), ("A", "B")):
        reads = Leaving()
        reads.add(*(bar_of(symbol, minute) for symbol in symbols for minute in (0, BARS - 1)))
        reads.holders[0] = "http://127.0.0.1:9"
        with web_worker(reads) as worker:
            for path in ("/bars?partial=allow", "/bars/FX/A", "/live?partial=allow", "/live/FX/A"):
                reads.here = {0}
                status, body = worker.get(path)
                bars = body.get("bars", [])
                assert bars == []
                assert status == 503 or body["complete"] is False


def request(**changes: Any) -> BarRequest:
    return replace(BarRequest(MINUTE, "FX"), **changes)


def test_code_inside_a_worker_reads_what_http_answers(cluster: Cluster) -> None:
    for worker in cluster.workers:
        one = worker.page(request(symbol="B"))
        assert one.bars == [bar_of("B", minute) for minute in range(BARS)]
        assert one.next is None
        asked: BarRequest | None = request(limit=5)
        seen: list[Bar] = []
        while asked is not None:
            page = worker.page(asked)
            seen += page.bars
            asked = page.next
        assert seen == [bar_of(symbol, minute) for symbol, minute in cluster.every_bar]
        last = worker.page(request(symbol="B", limit=4, descending=True))
        assert [bar.bucket_start_us for bar in last.bars] == [
            TEN_US + minute * MINUTE_US for minute in (5, 4, 3, 2)
        ]
        assert last.next is not None
        assert len(worker.page(last.next).bars) == 2
        # to is exclusive, to the microsecond
        ends = request(symbol="B", to_us=TEN_US + MINUTE_US + 1)
        assert len(worker.page(ends).bars) == 2


def test_a_bar_is_the_same_whether_it_was_here_or_came_over_http(cluster: Cluster) -> None:
    """Exact sums are kept for revising and are no fields of the API; too many are a page."""
    owner = cluster.holder(1)
    owner.reads.add(bar_of("B", 0).replace(volume_units=5))
    owner.reads.add(bar_of("B", 1).replace(turnover_units=-5))
    asked = request(symbol="B", limit=50_000)
    pages = [worker.page(asked) for worker in cluster.workers]
    assert pages[0] == pages[1] == pages[2]
    assert len(pages[0].bars) == BARS


def test_code_inside_a_worker_is_told_what_http_refuses(cluster: Cluster) -> None:
    worker = cluster.other(1)
    with pytest.raises(UnknownSeriesError, match="NOSUCH"):
        worker.page(request(symbol="NOSUCH"))
    with pytest.raises(UnknownPeriodError, match="1m, 5m, 1h"):
        worker.page(replace(request(), period=replace(FIVE, count=10)))
    kill_holder(cluster)
    for asked in (request(symbol="B"), request()):
        with pytest.raises(BarsUnavailableError) as refused:
            worker.page(asked)
        assert refused.value.missing == ((1, cluster.holders[1]),)
    worker.reads.readiness = Readiness(False, ["restoring"])
    with pytest.raises(BarsUnavailableError, match="restoring"):
        worker.page(request(symbol="A"))


def test_connections_to_other_workers_are_let_go_when_the_server_stops() -> None:
    cluster = Cluster()
    reads = filled(cluster, {0})
    with web_worker(filled(cluster, {1})) as other:
        cluster.holders |= {1: other.url}
        with web_worker(reads) as worker:
            assert worker.get("/bars/FX/B")[0] == 200
            held = worker.bars._router._peers._session
            assert held is not None
            assert not held.closed
        assert held.closed


def test_not_here_is_never_an_empty_answer(cluster: Cluster) -> None:
    """The seam itself: what is not here raises, it does not answer with nothing."""
    reads = cluster.workers[0].reads
    with pytest.raises(NotHereError):
        asyncio.run(_read(reads))


async def _read(reads: MemoryReads) -> None:
    from barstream.serve.query import read_bars

    await read_bars(reads, request(), frozenset({1}))
