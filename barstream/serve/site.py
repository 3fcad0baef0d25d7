"""What every view shares: the engine's reads, the metrics, the clock, and errors as JSON."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Final

from aiohttp import web
from faust.web.exceptions import NotFound, ServiceUnavailable, WebError
from faust.web.views import View

from barstream.market.universe import did_you_mean, nearest_series
from barstream.metrics import Metrics
from barstream.model.key import NameRule
from barstream.serve.connections import Connections, Sending
from barstream.serve.owner import (
    AGAIN,
    FORWARDED,
    PARTITIONS,
    WORKER,
    Answer,
    Missing,
    Router,
    UnroutedError,
)
from barstream.serve.parameters import BadParameterError
from barstream.serve.quota import ClientGoneError, CrowdedError, Quotas
from barstream.serve.reads import NotHereError, Reads, Stats

log = logging.getLogger(__name__)

#: Characters of a path that an answer repeats.
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Site:
    """What the views of one worker work with."""

    reads: Reads
    stats: Callable[[], Stats]
    router: Router
    metrics: Metrics
    now_us: Callable[[], int]
    name_rule: NameRule
    quotas: Quotas


#: A name in a path is whatever stands between slashes; ``{broker}`` alone would leave braces out.
BROKER: Final = "{broker:[^/]+}"
SYMBOL: Final = "{symbol:[^/]+}"
SITE: Final = web.AppKey("barstream_site", Site)
CONNECTIONS: Final = web.AppKey("barstream_connections", Connections)
SENDING: Final = web.AppKey("barstream_sending", Sending)


class MisdirectedError(WebError):
    """Asked by another worker for what is not here (421); it was passed on once already."""

    code = HTTPStatus.MISDIRECTED_REQUEST
    detail = "The series is not on this worker."


class ReadView(View):
    """A view that answers JSON and refuses with JSON."""

    def answer(self, value: dict[str, Any], status: int = 200) -> Any:
        """``value`` as a JSON response that no cache keeps."""
        return self.json(value, status=status, headers={"Cache-Control": "no-store"})

    #: Whether what it reads waits for other workers; it has a quota of its own then.
    gathers: ClassVar[bool] = False

    @asynccontextmanager
    async def turn(self, request: Any, rows: int) -> AsyncIterator[None]:
        """While ``rows`` are read for a request and made an answer.

        Raises:
            CrowdedError: too much is being read already.
            ClientGoneError: who asked is not there any more.
        """
        quotas: Quotas = request.app[SITE].quotas
        quota = quotas.many if self.gathers else quotas.one
        if FORWARDED in request.headers:
            quota = quotas.passed_on
        async with quota.taken(rows):
            if request.transport is None or request.transport.is_closing():
                raise ClientGoneError
            yield

    def ready_reads(self, request: Any) -> Reads:
        """The engine's reads.

        Raises:
            ServiceUnavailable: the worker is recovering; a part of the truth is no answer.
        """
        reads: Reads = request.app[SITE].reads
        readiness = reads.ready()
        if not readiness.ready:
            raise ServiceUnavailable(
                "this worker is not ready yet: " + ("; ".join(readiness.reasons) or "starting"),
                reasons=list(readiness.reasons),
                progress=dict(readiness.progress),
                what_to_do="ask again; GET /health/ready says when",
            )
        return reads

    async def partition_or_answer(self, request: Any, broker: str, symbol: str) -> int | Answer:
        """The partition of a series that is here, else what the worker that holds it answers.

        Raises:
            MisdirectedError: it is not here, and another worker believed it was.
            NotFound: no tick of it was seen.
            ServiceUnavailable: the worker that holds it gives no answer.
        """
        reads = self.ready_reads(request)
        owner = reads.owner(broker, symbol)
        if owner.partition is not None and not owner.here:
            if FORWARDED in request.headers:
                raise MisdirectedError(
                    f"{broker} {symbol} is not on this worker",
                    broker=broker,
                    symbol=symbol,
                    partition=owner.partition,
                    url=owner.url,
                )
            router: Router = request.app[SITE].router
            try:
                found = await router.ask(owner, broker, symbol, target_of(request))
            except UnroutedError as error:
                raise _unrouted(broker, symbol, error) from error
            if isinstance(found, Answer):
                return found
            owner = found
        if owner.partition is None:
            raise unknown_series(reads, broker, symbol)
        return owner.partition

    def passed_on(self, answer: Answer) -> Any:
        """An answer of another worker, byte for byte."""
        headers = {
            "Content-Type": answer.content_type,
            "Cache-Control": "no-store",
            WORKER: answer.worker,
        }
        return web.Response(body=answer.body, status=answer.status, headers=headers)

    def partitions_asked(self, request: Any) -> frozenset[int] | None:
        """The partitions that another worker asks this one for; None: nobody has passed it on.

        Raises:
            MisdirectedError: one of them is not here.
        """
        if FORWARDED not in request.headers:
            return None
        here = self.ready_reads(request).here
        text = request.headers.get(PARTITIONS)
        if text is None:
            return frozenset(here)
        # a number of thousands of digits is none that Python reads
        numbers = (each for each in text.split(",") if each.isdecimal() and len(each) < 10)
        asked = frozenset(map(int, numbers))
        if not asked.issubset(here):
            raise MisdirectedError(
                f"partitions {sorted(asked.difference(here))} are not on this worker"
            )
        return asked

    def lost(self, reads: Reads, error: NotHereError) -> ServiceUnavailable:
        """A partition that went to another worker while it was read: ask again."""
        return ServiceUnavailable(
            f"it went to another worker while it was read: {error}",
            reasons=list(reads.ready().reasons),
            progress={},
            what_to_do="ask again",
        )

    def incomplete(self, missing: Sequence[Missing]) -> ServiceUnavailable:
        """Some of what was asked for has no answer."""
        first = missing[0]
        return ServiceUnavailable(
            f"no answer for {len(missing)} of the partitions, the first is {first.partition}: "
            f"{first.why}",
            complete=False,
            missing=[each.as_json() for each in missing],
            what_to_do="ask again, or take what there is with partial=allow",
        )


def target_of(request: Any) -> str:
    """Path and query as they came; not the host that proxies put before them."""
    target: str = request.rel_url.raw_path_qs
    return target


def _unrouted(broker: str, symbol: str, error: UnroutedError) -> ServiceUnavailable:
    return ServiceUnavailable(
        f"{broker} {symbol} cannot be read now: {error}",
        broker=broker,
        symbol=symbol,
        partition=error.owner.partition,
        url=error.owner.url,
        reasons=list(error.reasons),
        what_to_do=AGAIN,
    )


def unknown_series(reads: Reads, broker: str, symbol: str) -> NotFound:
    """Why there is nothing of a series, and what to do about it."""
    near = nearest_series((broker, symbol), reads.known())
    if reads.schedule(broker, symbol, 0, 1) is None:
        why = "unscheduled"
        what_to_do = (
            "if it is spelled right (GET /series lists all that there are), load its sessions, for "
            "until then its ticks are rejected: barstream schedule load FILE, or barstream "
            "schedule load --calendar NAME"
        )
    else:
        why = "no tick seen yet"
        what_to_do = (
            "it has a schedule, so bars start with its first accepted tick; GET /status counts what"
            " was rejected, and GET /series shows how others are spelled"
        )
    return NotFound(
        f"{broker} {symbol} has no bars: {why}{did_you_mean(near)}",
        broker=broker,
        symbol=symbol,
        why=why,
        similar=[" ".join(each) for each in near],
        what_to_do=what_to_do,
    )


def _error(status: int, error: str, **context: Any) -> web.Response:
    return web.json_response({"error": error, **context}, status=status)


@web.middleware
async def errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Count and time a request; whatever goes wrong is answered in JSON too."""
    site, sending = request.app[SITE], request.app[SENDING]
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else "unknown"
    with request.app[CONNECTIONS].answering(request.transport) as is_file:
        began = time.perf_counter()
        try:
            response = await handler(request)
        except (BadParameterError, CrowdedError, ClientGoneError, web.HTTPException) as error:
            if isinstance(error, web.HTTPException) and error.status < 400:
                raise
            response = _refusal(request, error)
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                # below /static, a name that no file system could hold
                response = _error(404, f"{request.method} {_shown(request)}: Not Found")
            else:
                log.exception("A request failed. path=%s", request.path)
                response = _error(500, "an error of this worker, not of the request; see its log")
        size = _end_line(response)
        if not sending.has_room(size):
            response = _error(
                503,
                "too many large answers wait to be read by their clients",
                what_to_do="ask again, or for less (limit=500)",
            )
            size = _end_line(response)
        if response.status == 503:
            response.headers["Retry-After"] = "1"
        site.metrics.http_requests.labels(path, response.status).inc()
        site.metrics.http_request_seconds.labels(path).observe(time.perf_counter() - began)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers.setdefault(WORKER, site.reads.url)
        await sending.send(request, response, size)
        if isinstance(response, web.FileResponse):
            is_file()
    return response


def _end_line(response: web.StreamResponse) -> int:
    """JSON is a line of text: a shell's prompt stands below it, not behind it.

    Returns:
        Bytes of the body; 0 for a file.
    """
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return 0
    body = response.body
    if response.content_type == "application/json" and not body.endswith(b"\n"):
        response.body = body = body + b"\n"
    return len(body)


def _refusal(
    request: web.Request,
    error: BadParameterError | CrowdedError | ClientGoneError | web.HTTPException,
) -> web.Response:
    if isinstance(error, BadParameterError):
        return _error(
            400,
            str(error),
            parameter=error.parameter,
            required=error.required,
            found=error.found,
        )
    if isinstance(error, CrowdedError):
        return _error(503, str(error), what_to_do="ask again, or for less (limit=500)")
    if isinstance(error, ClientGoneError):
        return _error(499, "the client has hung up")
    response = _error(error.status, f"{request.method} {_shown(request)}: {error.reason}")
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _shown(request: web.Request) -> str:
    path = request.path
    return path if len(path) <= _SHOWN else f"{path[:_SHOWN]}..."
