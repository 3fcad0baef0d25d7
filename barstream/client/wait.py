"""Waiting until a bucket is final."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Final

from barstream.errors import BarstreamError
from barstream.model.bar import Bar
from barstream.model.bar_request import (
    EARLIEST_US,
    LATEST_US,
    BarRequest,
    BarSource,
    BarsUnavailableError,
    UnknownSeriesError,
)
from barstream.model.time import iso_from_us

#: Seconds between two looks: soon at first, so that what is about to close is seen at once.
_FIRST_S: Final = 0.02
_LONGEST_S: Final = 0.5
_GROWTH: Final = 1.5


class BucketTimeoutError(BarstreamError, TimeoutError):
    """A bucket was not final in time: wait longer, or see what stands in its way.

    Attributes:
        request: of the bucket.
        found: the bar of the bucket as it is: live, or final with too few revisions; None: there
            is none.
        newest: the newest bar of the series; None: it has none, or nobody answered.
    """

    def __init__(
        self, message: str, request: BarRequest, found: Bar | None, newest: Bar | None
    ) -> None:
        super().__init__(message)
        self.request = request
        self.found = found
        self.newest = newest


class _Look:
    """What was seen of a bucket so far."""

    def __init__(self, source: BarSource, request: BarRequest) -> None:
        self._source = source
        self._request = request
        self.found: Bar | None = None
        self.newest: Bar | None = None
        #: Why nothing can be said of it; at first because nobody has answered.
        self.refused: str | None = "no worker has answered yet"

    async def __call__(self, revision: int) -> Bar | None:
        """The bar if it is what is waited for."""
        newest = replace(
            self._request, from_us=EARLIEST_US, to_us=LATEST_US, limit=1, descending=True
        )
        try:
            self.found = await self._one(self._request)
            if self.found is not None and self.found.final and self.found.revision >= revision:
                return self.found
            self.newest = await self._one(newest)
        except (UnknownSeriesError, BarsUnavailableError) as error:
            # a first tick may come, and a worker recover
            self.refused = str(error)
        else:
            self.refused = None
        return None

    async def _one(self, request: BarRequest) -> Bar | None:
        page = await self._source.page(replace(request, limit=1))
        return page.bars[0] if page.bars else None

    def there(self) -> str:
        """A sentence of what there is instead."""
        if self.refused is not None:
            return self.refused
        if self.newest is None:
            return "the series has no bars yet"
        what = _told(self.newest)
        if self.found is not None:
            same = self.found.bucket_start_us == self.newest.bucket_start_us
            return f"it is {_told(self.found)}" + ("" if same else f", and the newest bar {what}")
        if self.newest.bucket_start_us > self._request.from_us:
            return (
                f"the newest bar is {what}, later than it, and there is none of it: it has no "
                "minute in a session, or the series was asleep or had no price yet"
            )
        return f"the newest bar is {what}"


async def wait_until_final(
    source: BarSource, request: BarRequest, timeout_s: float, revision: int
) -> Bar:
    """The bar of the one bucket of ``request`` once it is final and revised so often.

    Raises:
        BucketTimeoutError: it was not within ``timeout_s``.
        BarstreamError: the pipeline does not make such bars.
    """
    look, pause_s = _Look(source, request), _FIRST_S
    with suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            while True:
                bar = await look(revision)
                if bar is not None:
                    return bar
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * _GROWTH, _LONGEST_S)
    raise BucketTimeoutError(
        f"{request.broker} {request.symbol} {request.period} of {iso_from_us(request.from_us)} was "
        f"not final{f' with revision {revision}' if revision else ''} within {timeout_s:g} s; "
        f"{look.there()}",
        request,
        look.found,
        look.newest,
    )


def _told(bar: Bar) -> str:
    state = f"final, revision {bar.revision}" if bar.final else "live"
    return f"{iso_from_us(bar.bucket_start_us)} ({state})"
