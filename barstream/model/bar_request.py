"""Reading bars page by page, wherever they are: what is asked, what comes, and who answers.

A `BarSource` answers for every series of every worker: inside a worker it is the router of its
web server, elsewhere it asks a worker over HTTP.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol
from urllib.parse import quote, urlencode

from barstream.errors import BarstreamError
from barstream.model.bar import Bar
from barstream.model.key import bar_key, split_bar_key
from barstream.model.period import Period
from barstream.model.time import iso_micros_from_us, us_from_iso

#: Most bars of one page.
MAX_PAGE: Final = 10_000
#: What a key can name and a calendar can floor: the years 1000 to 9999.
EARLIEST_US: Final = us_from_iso("1000-01-01T00:00:00Z")
LATEST_US: Final = us_from_iso("9999-12-31T23:59:00Z")


class UnknownSeriesError(BarstreamError):
    """No tick of the series was seen: check the spelling, load a schedule, or wait for a tick."""


class UnknownPeriodError(BarstreamError):
    """The pipeline makes no bars of this period: use one it makes, or add it to the pipeline."""


class BarsUnavailableError(BarstreamError):
    """A part of what was asked for cannot be read now, so nothing was answered: ask again.

    Attributes:
        missing: by tick partition: the URL of the worker that should hold it, None when unknown.
    """

    def __init__(self, message: str, missing: Sequence[tuple[int, str | None]] = ()) -> None:
        super().__init__(message)
        self.missing = tuple(missing)


@dataclass(frozen=True, slots=True)
class BarRequest:
    """Bars with ``from_us <= bucket_start_us < to_us``, in the order of their keys.

    Attributes:
        period: one of the pipeline.
        broker: None: every broker, and then ``symbol`` is None too.
        symbol: None: every symbol of the broker.
        from_us: microseconds; a time inside a bucket means that bucket from its start.
        to_us: microseconds, exclusive.
        limit: at most so many bars in one page, 1 to `MAX_PAGE`.
        descending: from the last key to the first.
        after: only keys past this one (before it, if descending), see `after_text`.
    """

    period: Period
    broker: str | None = None
    symbol: str | None = None
    from_us: int = EARLIEST_US
    to_us: int = LATEST_US
    limit: int = 500
    descending: bool = False
    after: str | None = None

    def following(self, last: Bar) -> BarRequest:
        """What to ask for when ``last`` was the last bar of a page."""
        return replace(self, after=after_text(last))


@dataclass(frozen=True, slots=True)
class BarPage:
    """Live and final bars merged, final wins.

    Attributes:
        next: asks for the rest, None when it is all.
        retained_from_us: finals that start before this were deleted, of a series at least; None:
            none were.
    """

    bars: list[Bar]
    next: BarRequest | None = None
    retained_from_us: int | None = None


class BarSource(Protocol):
    """Who answers."""

    async def page(self, request: BarRequest) -> BarPage:
        """The first bars of what is asked for: all of them, or ``request.limit`` and the rest.

        Raises:
            UnknownSeriesError: one series was asked for, and no tick of it was seen.
            UnknownPeriodError: the pipeline does not make these bars.
            BarsUnavailableError: a worker that holds a part does not answer now.
        """
        ...


def after_text(bar: Bar) -> str:
    """The key of ``bar`` as text that needs no escaping in a URL."""
    return place_text(bar.broker, bar.symbol, bar.bucket_start_us)


def place_text(broker: str, symbol: str, bucket_start_us: int = 0) -> str:
    """A place in the order of keys, as text that needs no escaping in a URL."""
    return urlsafe_b64encode(bar_key(broker, symbol, bucket_start_us)).decode().rstrip("=")


def after_key(text: str) -> tuple[str, str, int]:
    """Broker, symbol and bucket start of `place_text`.

    Raises:
        ValueError: the text is none of ours.
    """
    return split_bar_key(urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def target_of(request: BarRequest) -> str:
    """Path and query that ask a worker for the same."""
    names = [quote(name, safe="") for name in (request.broker, request.symbol) if name is not None]
    query: dict[str, object] = {
        "timeframe": str(request.period),
        "from": iso_micros_from_us(request.from_us),
        "to": iso_micros_from_us(request.to_us),
        "limit": request.limit,
        "order": "desc" if request.descending else "asc",
    }
    if request.after is not None:
        query["after"] = request.after
    return "/".join(["/bars", *names]) + "?" + urlencode(query)
