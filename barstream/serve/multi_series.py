"""Views of many series: their bars, their open bars and their list, gathered from every worker."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final

from barstream.codecs.topics.bar_json import bar_from_json
from barstream.model.bar_request import BarRequest, after_text, place_text
from barstream.model.time import iso_date_from_days
from barstream.serve.fan_out import bars_here, by_key, first_rows, gathered_bars
from barstream.serve.owner import Gathered, Local
from barstream.serve.parameters import (
    SeriesRequest,
    bars_request,
    live_request,
    series_request,
)
from barstream.serve.peers import FORWARDED
from barstream.serve.query import read_live, rendered, still_here
from barstream.serve.quota import Quotas, RowQuota
from barstream.serve.reads import NotHereError, Reads, Reference, SeriesInfo
from barstream.serve.site import BROKER, ReadView, target_of, time_text

#: Rows of the list before the event loop gets its turn again: the first time a series is listed
#: its prices are looked up, half a millisecond each; later 20 us.
_ROWS: Final = 20


class GatheringView(ReadView):
    """A view that every worker answers for the partitions it holds."""

    async def own(self, request: Any, here: Local) -> Any:
        """What another worker is told that asks this one; None when nobody has passed it on.

        Raises:
            MisdirectedError: it asks for a partition that is not here.
            ServiceUnavailable: a partition went away while it was read.
        """
        partitions = self.partitions_asked(request)
        if partitions is None:
            return None
        try:
            return self.answer(await here(partitions))
        except NotHereError as error:
            raise self.lost(self.site(request).reads, error) from None

    def quota_of(self, quotas: Quotas) -> RowQuota:
        """Apart from those of one series: it waits for other workers."""
        return quotas.many

    def parts(self, request: Any, reads: Reads) -> int:
        """How many workers answer, each with a page of its own."""
        return 1 if FORWARDED in request.headers else 1 + len(reads.placement().elsewhere())

    def whole(self, gathered: Gathered, *, partial: bool) -> dict[str, Any]:
        """What an answer says of its own completeness.

        Raises:
            ServiceUnavailable: it is not complete, and has to be.
        """
        if gathered.missing and not partial:
            raise self.incomplete(gathered.missing)
        missing = [each.as_json() for each in gathered.missing]
        return {"complete": not missing, "missing": missing}


class AllBars(GatheringView):
    """``GET /bars?timeframe=&from=&to=&limit=&order=&after=&partial=``: bars of every series."""

    view_name, view_path = "all_bars", "/bars"

    async def get(self, request: Any) -> Any:
        return await self.bars(request, None)

    async def bars(self, request: Any, broker: str | None) -> Any:
        """One page of the bars of every series of a broker, or of all."""
        reads = self.ready_reads(request)
        query, rule = request.query.items(), self.site(request).name_rule
        asked, partial = bars_request(broker, None, query, reads.periods, rule)
        async with self.turn(request, asked.limit * self.parts(request, reads)):
            return await self._page(request, reads, asked, partial=partial)

    async def _page(self, request: Any, reads: Reads, asked: BarRequest, *, partial: bool) -> Any:
        own = await self.own(request, lambda partitions: bars_here(reads, asked, partitions))
        if own is not None:
            return own
        router = self.site(request).router
        page, gathered = await gathered_bars(router, reads, asked, target_of(request))
        whole = self.whole(gathered, partial=partial)
        return self.answer(
            {
                "broker": asked.broker,
                "timeframe": asked.period.timeframe,
                "period": str(asked.period),
                "order": "desc" if asked.descending else "asc",
                **whole,
                **page,
            }
        )


class BrokerBars(AllBars):
    """``GET /bars/{broker}``: bars of every series of a broker."""

    view_name, view_path = "broker_bars", f"/bars/{BROKER}"

    async def get(self, request: Any, broker: str) -> Any:  # type: ignore[override]
        return await self.bars(request, broker)


class AllLive(GatheringView):
    """``GET /live?timeframe=&limit=&after=&partial=``: every open bar."""

    view_name, view_path = "all_live", "/live"

    async def get(self, request: Any) -> Any:
        return await self.live(request, None)

    async def live(self, request: Any, broker: str | None) -> Any:
        """One page of the open bars of every series of a broker, or of all."""
        reads = self.ready_reads(request)
        query, rule = request.query.items(), self.site(request).name_rule
        asked, partial = live_request(broker, None, query, reads.periods, rule)
        async with self.turn(request, asked.limit * self.parts(request, reads)):
            return await self._page(request, reads, asked, partial=partial)

    async def _page(self, request: Any, reads: Reads, asked: BarRequest, *, partial: bool) -> Any:
        async def here(partitions: frozenset[int]) -> dict[str, Any]:
            found = await read_live(reads, asked, partitions)
            return {"truncated": found.left_off is not None, "bars": await rendered(found.bars)}

        own = await self.own(request, here)
        if own is not None:
            return own
        gathered = await self.site(request).router.gather(target_of(request), here)
        body = {
            "broker": asked.broker,
            "timeframe": asked.period.timeframe,
            **self.whole(gathered, partial=partial),
        }
        bars, more = first_rows(gathered, "bars", asked.limit, by_key)
        body |= {"truncated": more, "bars": bars}
        if more:
            body["next_after"] = after_text(bar_from_json(bars[-1]))
        return self.answer(body)


class BrokerLive(AllLive):
    """``GET /live/{broker}``: every open bar of a broker."""

    view_name, view_path = "broker_live", f"/live/{BROKER}"

    async def get(self, request: Any, broker: str) -> Any:  # type: ignore[override]
        return await self.live(request, broker)


class Series(GatheringView):
    """``GET /series?limit=&after=&partial=``: every known series, and which worker holds it."""

    view_name, view_path = "series", "/series"

    async def get(self, request: Any) -> Any:
        asked, partial = series_request(request.query.items())
        reads = self.ready_reads(request)
        async with self.turn(request, asked.limit * self.parts(request, reads)):
            return await self._page(request, reads, asked, partial=partial)

    async def _page(
        self, request: Any, reads: Reads, asked: SeriesRequest, *, partial: bool
    ) -> Any:
        async def here(partitions: frozenset[int]) -> dict[str, Any]:
            page = await series_page(reads, asked, partitions)
            still_here(reads, partitions)
            return {**page, "url": reads.placement().url}

        own = await self.own(request, here)
        if own is not None:
            return own
        gathered = await self.site(request).router.gather(target_of(request), here)
        whole = self.whole(gathered, partial=partial)
        url = reads.placement().url
        for body in gathered.bodies:
            if body["url"] != url:
                place = {"here": False, "url": body["url"]}
                body["series"] = [{**row, **place} for row in body["series"]]
        # of those that nobody answers for: what every worker is told of every series
        missing = {each.partition for each in gathered.missing}
        if missing:
            try:
                gathered.bodies.append(await series_page(reads, asked, missing))
            except NotHereError as error:
                raise self.lost(reads, error) from None
        rows, more = first_rows(gathered, "series", asked.limit, _name)
        answer = {**whole, "truncated": more, "series": rows}
        if more:
            answer["next_after"] = place_text(*_name(rows[-1]))
        return self.answer(answer)


def _name(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["broker"], row["symbol"]


async def series_page(
    reads: Reads, asked: SeriesRequest, partitions: Collection[int]
) -> dict[str, Any]:
    """The first rows of these partitions, as far as is known here, and whether there are more.

    Raises:
        NotHereError: a partition went away meanwhile.
    """
    rows: list[dict[str, Any]] = []
    for info in reads.series(partitions, asked.after):
        if len(rows) == asked.limit:
            return {"truncated": True, "series": rows}
        rows.append(series_json(info))
        if len(rows) % _ROWS == 0:
            await asyncio.sleep(0)
    return {"truncated": False, "series": rows}


def series_json(info: SeriesInfo) -> dict[str, Any]:
    """A row of the series list as the API shows it."""
    reference = info.reference
    return {
        "broker": info.broker,
        "symbol": info.symbol,
        "partition": info.partition,
        "kind": info.kind,
        "last_tick": time_text(info.last_tick_us),
        "watermark": time_text(info.watermark_us),
        "closed_until": time_text(info.closed_until_us),
        "previous_close": info.previous_close,
        "last_price": info.last_price,
        "price_decimals": info.price_decimals,
        "reference": None if reference is None else _reference_json(reference),
        "here": info.here,
        "url": info.url,
    }


def _reference_json(reference: Reference) -> dict[str, Any]:
    return {
        "kind": reference.kind,
        "price": reference.price,
        "trading_date": iso_date_from_days(reference.trading_date),
    }
