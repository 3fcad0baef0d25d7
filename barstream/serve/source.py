"""Bars for code that runs inside the worker: of every series, wherever it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from barstream.codecs.topics.bar_json import bar_from_json
from barstream.errors import with_advice
from barstream.model.bar_request import (
    MAX_PAGE,
    BarPage,
    BarRequest,
    BarsUnavailableError,
    UnknownPeriodError,
    UnknownSeriesError,
    target_of,
)
from barstream.model.key import FOLDED, NameRule
from barstream.model.time import us_from_iso
from barstream.serve.fan_out import gathered_bars
from barstream.serve.owner import TRIES, Router, UnroutedError, decoded
from barstream.serve.peers import Answer
from barstream.serve.query import read_bars
from barstream.serve.reads import NotHereError, Reads


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
                found = await self._router.find(broker, symbol, target_of(request))
                if isinstance(found, Answer):
                    return await _page(request, found)
                if found.partition is None:
                    raise UnknownSeriesError(
                        f"no tick of {broker} {symbol} was seen; check the spelling and its "
                        "schedule"
                    )
                here = await read_bars(self._reads, request)
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
            # the exact volume is for revising, and does not go over HTTP either
            bars = [
                bar if bar.volume_units is None else bar.replace(volume_units=None)
                for bar in here.bars
            ]
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
        return _body_page(request, page)


async def _page(request: BarRequest, answer: Answer) -> BarPage:
    body = await decoded(answer)
    if answer.status == 404:
        raise UnknownSeriesError(with_advice(str(body.get("error")), body.get("what_to_do")))
    if answer.status != 200 or not body:
        raise BarsUnavailableError(
            f"{answer.worker} answered {answer.status}: {body.get('error', 'nothing to be read')}"
        )
    return _body_page(request, body)


def _body_page(request: BarRequest, body: dict[str, Any]) -> BarPage:
    bars, retained = [bar_from_json(row) for row in body["bars"]], body["retained_from"]
    return BarPage(
        bars,
        request.following(bars[-1]) if body["truncated"] else None,
        None if retained is None else us_from_iso(retained),
    )
