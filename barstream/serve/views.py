"""Views of one series: its bars, its open bars, its schedule, and where it is."""

from __future__ import annotations

from itertools import islice
from typing import Any

from barstream.codecs.topics.session import tolerance_to_json
from barstream.model.bar_request import BarRequest, after_text
from barstream.model.time import iso_date_from_days, iso_from_us
from barstream.serve.parameters import (
    RequestedRange,
    bars_request,
    live_request,
    no_parameters,
    schedule_span,
    series_names,
)
from barstream.serve.peers import Answer
from barstream.serve.query import read_bars, read_live, rendered, still_here
from barstream.serve.reads import NotHereError, Owner, Reads
from barstream.serve.site import BROKER, SYMBOL, ReadView, time_text, unknown_series


class BarsView(ReadView):
    """``GET /bars/{broker}/{symbol}?timeframe=&from=&to=&limit=&order=``: live and final."""

    view_name, view_path = "bars", f"/bars/{BROKER}/{SYMBOL}"

    async def get(self, request: Any, broker: str, symbol: str) -> Any:
        reads = self.site(request).reads
        rule = self.site(request).name_rule
        asked, _ = bars_request(broker, symbol, request.query.items(), reads.periods, rule)
        owner = await self.owner_or_answer(request, asked.broker or "", asked.symbol or "")
        if isinstance(owner, Answer):
            return self.passed_on(owner)
        async with self.turn(request, asked.limit):
            return await self._page(reads, asked, owner)

    async def _page(self, reads: Reads, asked: BarRequest, owner: Owner) -> Any:
        try:
            found = await read_bars(reads, asked)
            bars = await rendered(found.bars)
            still_here(reads, owner.partitions)
        except NotHereError as error:
            raise self.lost(reads, error) from None
        retained_us, left_off = found.retained_from_us, found.left_off
        body: dict[str, Any] = {
            "broker": asked.broker,
            "symbol": asked.symbol,
            "timeframe": asked.period.timeframe,
            "period": str(asked.period),
            "partition": owner.partition,
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
        reads = self.site(request).reads
        rule = self.site(request).name_rule
        asked, _ = live_request(broker, symbol, request.query.items(), reads.periods, rule)
        owner = await self.owner_or_answer(request, asked.broker or "", asked.symbol or "")
        if isinstance(owner, Answer):
            return self.passed_on(owner)
        try:
            bars = await rendered((await read_live(reads, asked)).bars)
            still_here(reads, owner.partitions)
        except NotHereError as error:
            raise self.lost(reads, error) from None
        body = {"broker": asked.broker, "symbol": asked.symbol}
        return self.answer({**body, "timeframe": asked.period.timeframe, "bars": bars})


class Where(ReadView):
    """``GET /where/{broker}/{symbol}``: the partition of a series and who holds it.

    Answered while recovering too, as far as this worker knows by then.
    """

    view_name, view_path = "where", f"/where/{BROKER}/{SYMBOL}"

    async def get(self, request: Any, broker: str, symbol: str) -> Any:
        no_parameters(request.query.items())
        broker, symbol = series_names(broker, symbol, self.site(request).name_rule)
        reads = self.site(request).reads
        owner, readiness = reads.owner(broker, symbol), reads.ready()
        if owner.partition is None:
            self.ready_reads(request)  # a worker that is not ready may not know it yet
            raise unknown_series(reads, broker, symbol)
        placement = reads.placement()
        return self.answer(
            {
                "broker": broker,
                "symbol": symbol,
                "partition": owner.partition,
                "here": owner.here,
                "url": placement.url if owner.here else owner.url,
                "partitions": len(placement.holders),
                "scheduled": reads.schedule(broker, symbol, 0, 1) is not None,
                "worker": placement.url,
                "ready": readiness.ready,
                "reasons": list(readiness.reasons),
            }
        )


class Schedule(ReadView):
    """``GET /schedule/{broker}/{symbol}?from=&to=&limit=``: the sessions a series is judged by."""

    view_name, view_path = "schedule", f"/schedule/{BROKER}/{SYMBOL}"

    async def get(self, request: Any, broker: str, symbol: str) -> Any:
        site = self.site(request)
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
