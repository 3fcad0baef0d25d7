"""TimeBucket: the bars of one period, read by the parts of their key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Literal, Self

from barstream.client.bar_range import Keys
from barstream.client.bar_source import bound_source
from barstream.client.wait import wait_until_final
from barstream.client.worker_client import WorkerClient
from barstream.model.bar import Bar
from barstream.model.bar_request import BarPage, BarRequest, BarSource
from barstream.model.key import KeyValue
from barstream.model.period import Period
from barstream.pipeline import Model

#: Bars asked for at once; a scan that is cancelled has read no more than that ahead.
_PAGE: Final = 5000


class Bars(list[Bar]):
    """Bars in the order of their keys.

    Attributes:
        retained_from_us: finals that start before this were deleted by retention, of one of the
            series at least; None: none were.
    """

    def __init__(self, bars: Sequence[Bar] = (), retained_from_us: int | None = None) -> None:
        super().__init__(bars)
        self.retained_from_us = retained_from_us


class TimeBucket:
    """Bars of one period: live and final merged, final wins, each bucket once.

    What is read is named by the first parts of the key in the order the model declares
    (``[]``, ``[broker]``, ``[broker, symbol]``, ``[broker, symbol, time]``), names in any case.
    A time is a datetime (naive is UTC), a date or ISO 8601 text, and means the bucket that holds
    it.  An answer is whole or an error:

    Every read raises:
        TypeError: a part is None or of the wrong kind.
        ValueError: there are too many parts, or what is given is no time or span.
        NotBoundError: no worker runs in this process; use `connect`.
        UnknownSeriesError: one series was asked for, and no tick of it was seen.
        UnknownPeriodError: the pipeline does not make these bars.
        BarsUnavailableError: a worker that holds a part of them does not answer now.
    """

    def __init__(self, keys: Keys, source: Callable[[], BarSource]) -> None:
        self._keys = keys
        self._source = source

    def __repr__(self) -> str:
        return f"TimeBucket.get({self._keys.model.name}, {self.period})"

    @property
    def period(self) -> Period:
        """Of the bars."""
        return self._keys.period

    @classmethod
    def get(cls, model: Model, period: Period) -> Self:
        """Bars of the worker that runs in this process, and of all others through it.

        Raises:
            TypeError: ``period`` is none.
            ValueError: the model is not one of bars.
        """
        return cls(Keys(model, period), bound_source)

    @classmethod
    def connect(cls, url: str, *, token: str | None = None) -> Connection:
        """Bars of a service, read over HTTP from any of its workers.

        Args:
            url: of a worker, such as ``http://127.0.0.1:6066``.
            token: what its ``web.token`` says, if it has one.

        Raises:
            BarstreamError: that is no such URL.
        """
        return Connection(WorkerClient(url, token))

    async def to_list(
        self,
        prefix: Sequence[KeyValue],
        *,
        start: KeyValue | None = None,
        end: KeyValue | None = None,
        limit: int | None = None,
        descending: bool = False,
    ) -> Bars:
        """The bars whose keys begin with ``prefix``, in the order of their keys.

        Args:
            prefix: the first parts of the key.
            start: from the bucket that holds this.
            end: buckets that start before this.
            limit: at most so many; None: all.
            descending: from the last key to the first.

        Raises:
            BarstreamError: see the class.
        """
        found = Bars()
        pages = self._pages(self._request(prefix, start, end, descending), _checked(limit))
        async for page in pages:
            found.extend(page.bars)
            found.retained_from_us = _latest(found.retained_from_us, page.retained_from_us)
        return found

    def scan(
        self,
        prefix: Sequence[KeyValue],
        *,
        start: KeyValue | None = None,
        end: KeyValue | None = None,
        limit: int | None = None,
        descending: bool = False,
    ) -> AsyncIterator[Bar]:
        """As `to_list`, one bar after the other, reading a page when the last one is used up."""
        return self._bars(self._request(prefix, start, end, descending), _checked(limit))

    async def to_frame(
        self,
        prefix: Sequence[KeyValue],
        into: Literal["arrow", "polars", "pandas"] = "arrow",
        *,
        start: KeyValue | None = None,
        end: KeyValue | None = None,
        limit: int | None = None,
        descending: bool = False,
    ) -> Any:
        """As `to_list`, as a table: the columns of the model, and ``final``; times are UTC.

        Args:
            prefix: the first parts of the key.
            into: ``arrow`` (a ``pyarrow.Table``), ``polars`` or ``pandas`` (a ``DataFrame``).
            start: from the bucket that holds this.
            end: buckets that start before this.
            limit: at most so many; None: all.
            descending: from the last key to the first.

        Raises:
            MissingPieceError: that library is not installed.
            BarstreamError: see the class.
            ValueError: ``into`` is none of the three.
        """
        from barstream.client.frame import batch_of, frame_of, require

        require(into)
        request = self._request(prefix, start, end, descending)
        pages = self._pages(request, _checked(limit))
        return frame_of([batch_of(page.bars) async for page in pages], into)

    async def wait_for(
        self,
        bucket: Sequence[KeyValue],
        timeout: float,  # noqa: ASYNC109  (what happens then is more than a cancellation)
        *,
        revision: int = 0,
    ) -> Bar:
        """The bar of one bucket, as soon as it is final; at once if it is.

        Args:
            bucket: all parts of the key.
            timeout: seconds.
            revision: how often it must have been revised, at least.

        Raises:
            BucketTimeoutError: it was not final in time; says what there is instead.
            BarstreamError: see the class; a worker that recovers, or a series without a tick
                yet, is waited for.
        """
        request = self._keys.bucket(bucket)
        return await wait_until_final(self._source(), request, timeout, revision)

    def _request(
        self,
        prefix: Sequence[KeyValue],
        start: KeyValue | None,
        end: KeyValue | None,
        descending: bool,
    ) -> BarRequest:
        return self._keys.request(prefix, start, end, descending=descending)

    async def _pages(self, request: BarRequest, limit: int | None) -> AsyncIterator[BarPage]:
        source, left = self._source(), limit
        following: BarRequest | None = request
        while following is not None and left != 0:
            wanted = _PAGE if left is None else min(left, _PAGE)
            page = await source.page(replace(following, limit=wanted))
            yield page
            following = page.next
            if left is not None:
                left -= len(page.bars)

    async def _bars(self, request: BarRequest, limit: int | None) -> AsyncIterator[Bar]:
        async for page in self._pages(request, limit):
            for bar in page.bars:
                yield bar


class Connection:
    """A service whose bars are read over HTTP; ``async with`` closes it.

    Args:
        source: asks a worker.
    """

    def __init__(self, source: WorkerClient) -> None:
        self._source = source

    def get(self, model: Model, period: Period) -> TimeBucket:
        """Bars of the service; the same as `TimeBucket.get` inside one of its workers.

        Raises:
            TypeError: ``period`` is none.
            ValueError: the model is not one of bars.
        """
        return TimeBucket(Keys(model, period), lambda: self._source)

    async def close(self) -> None:
        """Let the connections go."""
        await self._source.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        await self.close()


def _checked(limit: int | None) -> int | None:
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise TypeError(f"limit must be a whole number, or left out for all; found {limit!r}")
    if limit < 1:
        raise ValueError(f"limit must be 1 or more, or left out for all; found {limit}")
    return limit


def _latest(one: int | None, other: int | None) -> int | None:
    return max((us for us in (one, other) if us is not None), default=None)
