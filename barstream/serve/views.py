"""The views that read: of one series, and of many, which are gathered from every worker."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any, Final

from barstream.codecs.topics.bar_json import bar_from_json
from barstream.codecs.topics.session import tolerance_to_json
from barstream.model.bar_request import BarRequest, after_text, place_text
from barstream.model.time import iso_date_from_days, iso_from_us
from barstream.serve.owner import FORWARDED, Answer, Gathered, Local
from barstream.serve.parameters import (
    RequestedRange,
    SeriesRequest,
    bars_request,
    live_request,
    no_parameters,
    schedule_span,
    series_names,
    series_request,
)
from barstream.serve.query import (
    bars_here,
    by_key,
    first_rows,
    gathered_bars,
    read_live,
    read_series,
    still_here,
)
from barstream.serve.reads import NotHereError, Reads
from barstream.serve.render import rendered, series_json, time_text
from barstream.serve.site import BROKER, SITE, SYMBOL, ReadView, Site, target_of, unknown_series


class BarsView(ReadView):
    """``GET /bars/{broker}/{symbol}?timeframe=&from=&to=&limit=&order=``: live and final."""

    view_name, view_path = "bars", f"/bars/{BROKER}/{SYMBOL}"

    async def get(self, request: Any, broker: str, symbol: str) -> Any:
        site: Site = request.app[SITE]
        reads, query = site.reads, request.query.items()
        asked, _ = bars_request(broker, symbol, query, reads.periods, site.name_rule)
        broker, symbol = asked.broker or "", asked.symbol or ""
        partition = await self.partition_or_answer(request, broker, symbol)
        if isinstance(partition, Answer):
            return self.passed_on(partition)
        async with self.turn(request, asked.limit):
            try:
                found = await read_series(reads, asked, broker, symbol)
                bars = await rendered(found.bars)
                still_here(reads, [partition])
            except NotHereError as error:
                raise self.lost(reads, error) from None
            retained_us, left_off = found.retained_from_us, found.left_off
            body: dict[str, Any] = {
                "broker": broker,
                "symbol": symbol,
                "timeframe": asked.period.timeframe,
                "period": str(asked.period),
                "partition": partition,
                "order": "desc" if asked.descending else "asc",
                "truncated": left_off is not None,
                "retained_from": None if retained_us is None else iso_from_us(retained_us),
                "bars": bars,
            }
            if left_off is not None:
                body["next_after"] = after_text(found.bars[-1])
                if asked.descending:
                    # exclusive, so that the bar left off is the first of the next page
                    body["next_to"] = bars[-1]["bucket_start"]
                else:
                    body["next_from"] = iso_from_us(left_off.bucket_start_us)
            return self.answer(body)


class Live(ReadView):
    """``GET /live/{broker}/{symbol}?timeframe=``: the bars that are open now."""

    view_name, view_path = "live", f"/live/{BROKER}/{SYMBOL}"

    async def get(self, request: Any, broker: str, symbol: str) -> Any:
        site: Site = request.app[SITE]
        reads, query = site.reads, request.query.items()
        asked, _ = live_request(broker, symbol, query, reads.periods, site.name_rule)
        broker, symbol = asked.broker or "", asked.symbol or ""
        partition = await self.partition_or_answer(request, broker, symbol)
        if isinstance(partition, Answer):
            return self.passed_on(partition)
        try:
            bars = await rendered(reads.live(broker, symbol, asked.period))
            still_here(reads, [partition])
        except NotHereError as error:
            raise self.lost(reads, error) from None
        body = {"broker": broker, "symbol": symbol}
        return self.answer({**body, "timeframe": asked.period.timeframe, "bars": bars})


class Where(ReadView):
    """``GET /where/{broker}/{symbol}``: the partition of a series and who holds it.

    Answered while recovering too, as far as this worker knows by then.
    """

    view_name, view_path = "where", f"/where/{BROKER}/{SYMBOL}"

    async def get(self, request: Any, broker: str, symbol: str) -> Any:
        no_parameters(request.query.items())
        broker, symbol = series_names(broker, symbol, request.app[SITE].name_rule)
        reads: Reads = request.app[SITE].reads
        owner, readiness = reads.owner(broker, symbol), reads.ready()
        if owner.partition is None:
            self.ready_reads(request)  # a worker that is not ready may not know it yet
            raise unknown_series(reads, broker, symbol)
        return self.answer(
            {
                "broker": broker,
                "symbol": symbol,
                "partition": owner.partition,
                "here": owner.here,
                "url": reads.url if owner.here else owner.url,
                "partitions": len(reads.placement().holders),
                "scheduled": reads.schedule(broker, symbol, 0, 1) is not None,
                "worker": reads.url,
                "ready": readiness.ready,
                "reasons": list(readiness.reasons),
            }
        )


class Schedule(ReadView):
    """``GET /schedule/{broker}/{symbol}?from=&to=&limit=``: the sessions a series is judged by."""

    view_name, view_path = "schedule", f"/schedule/{BROKER}/{SYMBOL}"

    async def get(self, request: Any, broker: str, symbol: str) -> Any:
        site: Site = request.app[SITE]
        query = request.query.items()
        span = schedule_span(broker, symbol, query, site.now_us(), site.name_rule)
        async with self.turn(request, span.limit):
            return self._sessions(request, span)

    def _sessions(self, request: Any, span: RequestedRange) -> Any:
        found = self.ready_reads(request).schedule(
            span.broker, span.symbol, span.from_us, span.to_us
        )
        sessions = list(islice(found or (), span.limit + 1))
        body: dict[str, Any] = {
            "broker": span.broker,
            "symbol": span.symbol,
            "scheduled": found is not None,
            "from": time_text(span.from_us),
            "to": time_text(span.to_us),
            "truncated": len(sessions) > span.limit,
            "sessions": [
                {
                    "trading_date": iso_date_from_days(session.trading_date),
                    "session": session.number,
                    "open": time_text(session.open_us),
                    "close": time_text(session.close_us),
                    **tolerance_to_json(session.close_tolerance_us),
                }
                for session in sessions[: span.limit]
            ],
        }
        if len(sessions) > span.limit:
            body["next_from"] = time_text(sessions[span.limit].open_us)
        if found is None:
            body["what_to_do"] = "barstream schedule load FILE, or --calendar NAME"
        return self.answer(body)


#: Rows of the list before the event loop gets its turn again: the first time a series is listed
#: its prices are looked up, half a millisecond each; later 20 us.
_ROWS: Final = 20


class GatheringView(ReadView):
    """A view that every worker answers for the partitions it holds."""

    gathers = True

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
            raise self.lost(request.app[SITE].reads, error) from None

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
        query, rule = request.query.items(), request.app[SITE].name_rule
        asked, partial = bars_request(broker, None, query, reads.periods, rule)
        async with self.turn(request, asked.limit * self.parts(request, reads)):
            return await self._page(request, reads, asked, partial=partial)

    async def _page(self, request: Any, reads: Reads, asked: BarRequest, *, partial: bool) -> Any:
        own = await self.own(request, lambda partitions: bars_here(reads, asked, partitions))
        if own is not None:
            return own
        router = request.app[SITE].router
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
        query, rule = request.query.items(), request.app[SITE].name_rule
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
        gathered = await request.app[SITE].router.gather(target_of(request), here)
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
            return {**page, "url": reads.url}

        own = await self.own(request, here)
        if own is not None:
            return own
        gathered = await request.app[SITE].router.gather(target_of(request), here)
        whole = self.whole(gathered, partial=partial)
        for body in gathered.bodies:
            if body["url"] != reads.url:
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
