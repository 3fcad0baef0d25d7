"""The bars of a request: those of this worker's partitions, and one page of those of all workers.

Whoever asks, over HTTP or inside the worker, is answered from here: of one series, or of many in
the order of their keys.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from barstream.client.worker_client import page_of
from barstream.codecs.topics.bar_json import bar_from_json
from barstream.errors import with_advice
from barstream.model.bar import Bar
from barstream.model.bar_request import (
    MAX_PAGE,
    BarPage,
    BarRequest,
    BarsUnavailableError,
    UnknownPeriodError,
    UnknownSeriesError,
    after_key,
    after_text,
    target_of,
)
from barstream.model.key import FOLDED, NameRule
from barstream.model.time import iso_from_us
from barstream.serve.owner import TRIES, Answer, Gathered, Router, UnroutedError, decoded
from barstream.serve.reads import NotHereError, Owner, Reads
from barstream.serve.render import rendered

#: Bars read before the event loop gets its turn again: about 10 ms.
CHUNK: Final = 1000
#: ... or series looked at.
SEEKS: Final = 100


@dataclass(slots=True)
class FoundBars:
    """At most ``limit`` bars, the first one left off, and what retention has deleted.

    Attributes:
        retained_from_us: finals that start before this were deleted, of a series at least.
    """

    bars: list[Bar] = field(default_factory=list)
    left_off: Bar | None = None
    retained_from_us: int | None = None


async def read_series(
    reads: Reads, request: BarRequest, broker: str, symbol: str, found: FoundBars | None = None
) -> FoundBars:
    """The bars of one series.

    Args:
        reads: of this worker.
        request: of it, or of many of which it is one.
        broker: normalised.
        symbol: normalised.
        found: what there is of the series before it, and is added to.

    Raises:
        NotHereError: it is not here, or no longer.
    """
    found = FoundBars() if found is None else found
    period, descending = request.period, request.descending
    from_us = reads.bucket_of(broker, symbol, period, request.from_us)
    to_us = request.to_us
    if request.after is not None:
        *name, bucket_us = after_key(request.after)
        if name == [broker, symbol] and descending:
            to_us = min(to_us, bucket_us)
        elif name == [broker, symbol]:
            from_us = max(from_us, bucket_us + 1)
    retained_us = reads.retained_from_us(broker, symbol, period)
    if retained_us is not None:
        found.retained_from_us = max(retained_us, found.retained_from_us or retained_us)
    while from_us < to_us:
        room = request.limit - len(found.bars)
        wanted = min(CHUNK, room + 1)
        bars = reads.bars(broker, symbol, period, from_us, to_us, wanted, descending=descending)
        found.bars.extend(bars[:room])
        if len(bars) > room:
            found.left_off = bars[room]
            return found
        if len(bars) < wanted:
            return found
        if descending:
            to_us = bars[-1].bucket_start_us
        else:
            from_us = bars[-1].bucket_start_us + 1
        await asyncio.sleep(0)
    return found


async def read_bars(reads: Reads, request: BarRequest, partitions: Iterable[int]) -> FoundBars:
    """The bars of every series of these partitions, in the order of their keys.

    Raises:
        NotHereError: some of it is not here, or no longer.
    """
    found = FoundBars()
    async for broker, symbol in _in_turn(reads, request, partitions, found):
        await read_series(reads, request, broker, symbol, found)
    return found


async def _in_turn(
    reads: Reads, request: BarRequest, partitions: Iterable[int], found: FoundBars
) -> AsyncIterator[tuple[str, str]]:
    """The series asked for, until a bar of one is left off; the loop gets its turn in between.

    Raises:
        NotHereError: some of it is not here, or no longer.
    """
    for number, name in enumerate(_names(reads, request, partitions), 1):
        yield name
        if found.left_off is not None:
            break
        if number % SEEKS == 0:
            await asyncio.sleep(0)
    still_here(reads, partitions)


def still_here(reads: Reads, partitions: Iterable[int]) -> None:
    """Nothing that was read may have been written by another worker meanwhile.

    Raises:
        NotHereError: one of the partitions is not here any more.
    """
    gone = sorted(set(partitions).difference(reads.here))
    if gone:
        raise NotHereError(f"partitions {gone} are not on this worker any more")


def _names(
    reads: Reads, request: BarRequest, partitions: Iterable[int]
) -> Iterator[tuple[str, str]]:
    """The series asked for in the order of their keys, from the one to go on with."""
    after = None if request.after is None else after_key(request.after)
    names = reads.names(partitions)
    for broker, symbol in reversed(names) if request.descending else names:
        if request.broker is not None and broker != request.broker:
            continue
        name = (broker, symbol)
        if after is None or name == after[:2] or (name > after[:2]) != request.descending:
            yield name


async def read_live(reads: Reads, request: BarRequest, partitions: Iterable[int]) -> FoundBars:
    """The open bars of every series of these partitions, in the order of their keys.

    Raises:
        NotHereError: some of it is not here, or no longer.
    """
    found = FoundBars()
    after = None if request.after is None else after_key(request.after)
    async for broker, symbol in _in_turn(reads, request, partitions, found):
        for bar in reads.live(broker, symbol, request.period):
            if after is not None and (broker, symbol, bar.bucket_start_us) <= after:
                continue
            if len(found.bars) == request.limit:
                found.left_off = bar
                break
            found.bars.append(bar)
    return found


Row = Mapping[str, Any]


def by_key(row: Row) -> tuple[str, str, str]:
    """What bars are ordered by; as text, because ``bucket_start`` sorts as time does."""
    return row["broker"], row["symbol"], row["bucket_start"]


def first_rows(
    gathered: Gathered, name: str, limit: int, key: Callable[[Row], Any]
) -> tuple[list[Any], bool]:
    """The first ``limit`` rows of all workers in order, and whether there are more.

    Each of them has given its first ``limit`` rows, so that the first of all are among them.
    """
    rows = sorted((row for body in gathered.bodies for row in body[name]), key=key)
    # a worker of an earlier version gives all it has, and does not say so
    more = len(rows) > limit or any(body.get("truncated", False) for body in gathered.bodies)
    return rows[:limit], more


async def bars_here(reads: Reads, asked: BarRequest, partitions: frozenset[int]) -> dict[str, Any]:
    """The bars of these partitions, in the order of their keys.

    Raises:
        NotHereError: one of them is not here, or no longer.
    """
    found = await read_bars(reads, asked, partitions)
    retained_us = found.retained_from_us
    return {
        "truncated": found.left_off is not None,
        "retained_from": None if retained_us is None else iso_from_us(retained_us),
        "bars": await rendered(found.bars),
    }


async def gathered_bars(
    router: Router, reads: Reads, asked: BarRequest, target: str
) -> tuple[dict[str, Any], Gathered]:
    """One page of what all workers have, and which of them did not answer.

    Args:
        router: asks the others.
        reads: of this worker.
        asked: what is asked.
        target: the same as path and query.
    """
    gathered = await router.gather(target, lambda here: bars_here(reads, asked, here))
    parts = gathered.bodies
    # each part has as many as the page can take, so the first of all of them are the page
    rows = heapq.merge(*(part["bars"] for part in parts), key=by_key, reverse=asked.descending)
    bars = list(islice(rows, asked.limit))
    count = sum(len(part["bars"]) for part in parts)
    retained = [part["retained_from"] for part in parts if part["retained_from"]]
    page: dict[str, Any] = {
        "truncated": count > len(bars) or any(part["truncated"] for part in parts),
        "retained_from": max(retained, default=None),
        "bars": bars,
    }
    if page["truncated"]:
        page["next_after"] = after_text(bar_from_json(bars[-1]))
    return page, gathered


class RoutedBars:
    """A `barstream.model.bar_request.BarSource`: what is here is read here, the rest over HTTP.

    Args:
        reads: of this worker.
        router: finds the others.
        name_rule: how names are spelled.
    """

    def __init__(self, reads: Reads, router: Router, name_rule: NameRule = FOLDED) -> None:
        self._reads = reads
        self._router = router
        self._name_rule = name_rule

    async def page(self, request: BarRequest) -> BarPage:
        """See `barstream.model.bar_request.BarSource.page`."""
        spelled = [
            None if name is None else self._name_rule.normalise(name)
            for name in (request.broker, request.symbol)
        ]
        request = replace(
            request, limit=min(request.limit, MAX_PAGE), broker=spelled[0], symbol=spelled[1]
        )
        if request.period not in self._reads.periods:
            made = ", ".join(map(str, self._reads.periods))
            raise UnknownPeriodError(
                f"the pipeline makes bars of {made}, found {request.period}; add it to "
                "bars.timeframes"
            )
        readiness = self._reads.ready()
        if not readiness.ready:
            raise BarsUnavailableError(
                f"this worker is not ready yet: {'; '.join(readiness.reasons)}; ask again"
            )
        if request.broker is not None and request.symbol is not None:
            return await self._series(request, request.broker, request.symbol)
        return await self._many(request)

    async def _series(self, request: BarRequest, broker: str, symbol: str) -> BarPage:
        for last in range(1, TRIES + 1):
            try:
                owner = self._reads.owner(broker, symbol)
                found: Owner | Answer = owner
                if owner.partition is not None and not owner.here:
                    found = await self._router.ask(owner, broker, symbol, target_of(request))
                if isinstance(found, Answer):
                    return await _page(request, found)
                if found.partition is None:
                    raise UnknownSeriesError(
                        f"no tick of {broker} {symbol} was seen; check the spelling and its "
                        "schedule"
                    )
                here = await read_series(self._reads, request, broker, symbol)
            except UnroutedError as error:
                partition = error.owner.partition
                missing = () if partition is None else ((partition, error.owner.url),)
                raise BarsUnavailableError(
                    f"{broker} {symbol} cannot be read now: {error}; ask again", missing
                ) from error
            except NotHereError as error:
                if last == TRIES:
                    raise BarsUnavailableError(
                        f"{broker} {symbol} went to another worker while it was read; ask again"
                    ) from error
                continue
            # exact sums are for revising, and do not go over HTTP either
            bars = [bar.rounded for bar in here.bars]
            rest = request.following(bars[-1]) if here.left_off is not None else None
            return BarPage(bars, rest, here.retained_from_us)
        raise AssertionError("unreachable")

    async def _many(self, request: BarRequest) -> BarPage:
        page, gathered = await gathered_bars(self._router, self._reads, request, target_of(request))
        if gathered.missing:
            first = gathered.missing[0]
            raise BarsUnavailableError(
                f"no answer for {len(gathered.missing)} of the partitions, the first is "
                f"{first.partition}: {first.why}; ask again",
                [(each.partition, each.url) for each in gathered.missing],
            )
        return page_of(request, page)


async def _page(request: BarRequest, answer: Answer) -> BarPage:
    body = await decoded(answer)
    if answer.status == 404:
        raise UnknownSeriesError(with_advice(str(body.get("error")), body.get("what_to_do")))
    if answer.status != 200 or not body:
        raise BarsUnavailableError(
            f"{answer.worker} answered {answer.status}: {body.get('error', 'nothing to be read')}"
        )
    return page_of(request, body)
