"""Views that read: bars, live bars, the series list and the schedule."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Any, Final

from barstream.codecs.bar import bar_to_json
from barstream.core.bars import Bar
from barstream.core.time import iso_date_from_days, iso_from_us
from barstream.web.parameters import Span, bars_span, no_parameters, schedule_span, series_names
from barstream.web.reads import NotHereError, Reads, SeriesInfo
from barstream.web.site import ReadView, time_text

#: Bars read and rendered before the event loop gets its turn again, about 10 ms.
CHUNK: Final = 1000


def bar_json(bar: Bar) -> dict[str, Any]:
    """A bar as the API shows it: its fields and ``status``, ``final`` or ``live``."""
    return {**bar_to_json(bar), "status": "final" if bar.final else "live"}


def series_json(info: SeriesInfo) -> dict[str, Any]:
    """A row of the series list as the API shows it."""
    return {
        "broker": info.broker,
        "symbol": info.symbol,
        "partition": info.partition,
        "kind": info.kind,
        "last_tick": time_text(info.last_tick_us),
        "watermark": time_text(info.watermark_us),
        "closed_until": time_text(info.closed_until_us),
        "previous_close": info.previous_close,
        "here": info.here,
        "url": info.url,
    }


async def _read_bars(reads: Reads, span: Span) -> tuple[list[dict[str, Any]], Bar | None]:
    """At most ``span.limit`` bars, and the first one left off, if any."""
    rendered: list[dict[str, Any]] = []
    from_us, to_us = span.from_us, span.to_us
    while from_us < to_us:
        wanted = min(CHUNK, span.limit + 1 - len(rendered))
        bars = reads.bars(
            span.broker, span.symbol, from_us, to_us, wanted, descending=span.descending
        )
        room = span.limit - len(rendered)
        rendered.extend(map(bar_json, bars[:room]))
        if len(bars) > room:
            return rendered, bars[room]
        if len(bars) < wanted:
            break
        if span.descending:
            to_us = bars[-1].bucket_start_us
        else:
            from_us = bars[-1].bucket_start_us + 1
        await asyncio.sleep(0)
    return rendered, None


class Bars(ReadView):
    """``GET /bars/{broker}/{symbol}?timeframe=1m&from=&to=&limit=&order=``: live and final."""

    view_name, view_path = "bars", "/bars/{broker}/{symbol}"

    async def get(self, request: Any, broker: str, symbol: str) -> Any:
        span = bars_span(broker, symbol, request.query.items())
        reads = self.ready_reads(request)
        owner = self.owned(reads, span.broker, span.symbol)
        try:
            bars, left_off = await _read_bars(reads, span)
            retained_us = reads.retained_from_us(span.broker, span.symbol)
        except NotHereError:
            raise self.lost(reads, span.broker, span.symbol) from None
        body: dict[str, Any] = {
            "broker": span.broker,
            "symbol": span.symbol,
            "timeframe": "1m",
            "partition": owner.partition,
            "order": "desc" if span.descending else "asc",
            "truncated": left_off is not None,
            "retained_from": None if retained_us is None else iso_from_us(retained_us),
            "bars": bars,
        }
        if left_off is not None and span.descending:
            # exclusive, so that the bar left off is the first of the next page
            body["next_to"] = bars[-1]["bucket_start"]
        elif left_off is not None:
            body["next_from"] = iso_from_us(left_off.bucket_start_us)
        return self.answer(body)


class Live(ReadView):
    """``GET /live/{broker}/{symbol}``: the bars that are open now."""

    view_name, view_path = "live", "/live/{broker}/{symbol}"

    async def get(self, request: Any, broker: str, symbol: str) -> Any:
        no_parameters(request.query.items())
        broker, symbol = series_names(broker, symbol)
        reads = self.ready_reads(request)
        self.owned(reads, broker, symbol)
        bars = [bar_json(bar) for bar in reads.live(broker, symbol)]
        return self.answer({"broker": broker, "symbol": symbol, "timeframe": "1m", "bars": bars})


class Series(ReadView):
    """``GET /series``: every known series, and which worker holds it."""

    view_name, view_path = "series", "/series"

    async def get(self, request: Any) -> Any:
        no_parameters(request.query.items())
        rows = sorted(
            self.ready_reads(request).series(), key=lambda info: (info.broker, info.symbol)
        )
        return self.answer({"series": [series_json(info) for info in rows]})


class Schedule(ReadView):
    """``GET /schedule/{broker}/{symbol}?from=&to=&limit=``: the sessions a series is judged by."""

    view_name, view_path = "schedule", "/schedule/{broker}/{symbol}"

    async def get(self, request: Any, broker: str, symbol: str) -> Any:
        now_us = self.site(request).now_us()
        span = schedule_span(broker, symbol, request.query.items(), now_us)
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
                }
                for session in sessions[: span.limit]
            ],
        }
        if len(sessions) > span.limit:
            body["next_from"] = time_text(sessions[span.limit].open_us)
        if found is None:
            body["what_to_do"] = "barstream schedule load FILE, or --calendar NAME"
        return self.answer(body)
