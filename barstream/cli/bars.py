"""``barstream bars``: the bars of a series in the terminal, once or as they come."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any, Final
from urllib.parse import quote

import click

from barstream.cli.context import Name, Time, settings
from barstream.client.worker_client import (
    PATIENT,
    WorkerClient,
    WorkerRefusedError,
    WorkerUnreachableError,
    local_url,
)

DEFAULT_LIMIT: Final = 50
PAGE_LIMIT: Final = 5000
POLL_S: Final = 0.5
#: No tick yet, recovering, on its way to another worker: worth waiting for.
_PASSING: Final = (404, 503)

Bar = dict[str, Any]


@click.command("bars")
@click.argument("broker", type=Name())
@click.argument("symbol", type=Name())
@click.option(
    "--timeframe",
    default="1m",
    show_default=True,
    help="Any the pipeline makes, such as 1m, 5m or 1d.",
)
@click.option(
    "--from",
    "start_us",
    type=Time(),
    metavar="TIME",
    help="First bar (ISO 8601, UTC); all from there on.",
)
@click.option("--to", "end_us", type=Time(), metavar="TIME", help="End (exclusive).")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    help=f"How many bars: the latest ones, or with --from the first.  [default: {DEFAULT_LIMIT}, "
    "with --from all]",
)
@click.option("--follow", is_flag=True, help="Keep running and print each final bar as it comes.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per line; with --follow finals only."
)
@click.option("--url", metavar="URL", help="URL of a worker.  [default: from the settings]")
@click.pass_context
def command(
    ctx: click.Context,
    broker: str,
    symbol: str,
    timeframe: str,
    start_us: int | None,
    end_us: int | None,
    limit: int | None,
    follow: bool,
    as_json: bool,
    url: str | None,
) -> None:
    """Print the bars of a series: the latest, or those between --from and --to.

    Times are UTC; bars of days, weeks and months begin with their trading date. A dim line is a
    bar without a tick; a marked one is still open.
    """
    if follow and end_us is not None:
        raise click.UsageError("--follow has no end: leave --to out")
    if start_us is not None and end_us is not None and start_us >= end_us:
        raise click.UsageError("--from must be before --to, which is exclusive")
    from barstream.model.time import iso_micros_from_us

    web = settings(ctx).web
    token = None if web.token is None else web.token.get_secret_value()
    client = WorkerClient(url or local_url(web.host, web.port), token, PATIENT)
    start, end = (None if us is None else iso_micros_from_us(us) for us in (start_us, end_us))
    query = BarQuery(client, (broker, symbol), timeframe, start, end, limit)
    output = JsonOutput() if as_json else TerminalOutput(_is_by_date(timeframe))
    if follow:
        try:
            asyncio.run(_follow(client, query, output))
        except KeyboardInterrupt:
            # the way to end it
            return
    bars, more = asyncio.run(_first(client, query))
    if bars:
        output.finals(bars)
    else:
        click.echo(f"no bars of {broker} {symbol} in this range", err=True)
    if more:
        click.echo(more, err=True)


async def _first(client: WorkerClient, query: BarQuery) -> tuple[list[Bar], str | None]:
    async with client:
        return await query.first()


async def _follow(
    client: WorkerClient, query: BarQuery, output: JsonOutput | TerminalOutput
) -> None:
    with output:
        async with client:
            async for finals, open_bars in query.follow():
                output.finals(finals)
                output.open(open_bars)


class BarQuery:
    """What is asked of the worker, and how it goes on from there."""

    def __init__(
        self,
        client: WorkerClient,
        series: tuple[str, str],
        timeframe: str,
        start: str | None,
        end: str | None,
        limit: int | None,
    ) -> None:
        self._client = client
        self._path = "/bars/" + "/".join(quote(name, safe="") for name in series)
        self._timeframe = timeframe
        self._start, self._end, self._limit = start, end, limit

    async def first(self) -> tuple[list[Bar], str | None]:
        """The bars asked for, ascending, and how to see those left off."""
        if self._start is None:
            limit = self._limit or DEFAULT_LIMIT
            query = {"order": "desc", "limit": limit, "to": self._end}
            body = await self._client.get(self._path, {"timeframe": self._timeframe, **query})
            bars = body["bars"][::-1]
            asked = self._limit is not None or self._end is not None
            if body["truncated"] and asked:
                return bars, f"older bars: --to {bars[0]['bucket_start']}"
            return bars, None
        bars = []
        async for bar in self._since(self._start, self._end):
            if len(bars) == self._limit:
                return bars, f"more bars: --from {bar['bucket_start']}"
            bars.append(bar)
        return bars, None

    async def follow(self) -> AsyncIterator[tuple[list[Bar], list[Bar]]]:
        """New finals, each once, and the open bars, every half second; never ends."""
        told = after = None
        # a worker that is not there at the start is a mistake, later on it is an accident
        patient = False
        while True:
            try:
                if after is None:
                    bars, _ = await self.first()
                else:
                    bars = [bar async for bar in self._since(after, None)]
                patient, told = True, None
            except (WorkerUnreachableError, WorkerRefusedError) as error:
                status = error.status if isinstance(error, WorkerRefusedError) else None
                if status not in _PASSING and not (patient and status is None):
                    raise
                if str(error) != told:
                    told = str(error)
                    click.echo(f"waiting: {told}", err=True)
                bars = []
            finals = [
                bar for bar in bars if bar["status"] == "final" and bar["bucket_start"] != after
            ]
            if finals:
                after = finals[-1]["bucket_start"]
            yield finals, [bar for bar in bars if bar["status"] == "live"]
            await asyncio.sleep(POLL_S)

    async def _since(self, start: str, end: str | None) -> AsyncIterator[Bar]:
        """Every bar from ``start`` on, ascending, asked for page by page."""
        next_from: str | None = start
        while next_from:
            span = {"from": next_from, "to": end, "limit": PAGE_LIMIT}
            body = await self._client.get(self._path, {"timeframe": self._timeframe, **span})
            for bar in body["bars"]:
                yield bar
            next_from = body.get("next_from")


class JsonOutput(nullcontext[None]):
    """One JSON object per line."""

    def finals(self, bars: list[Bar]) -> None:
        for bar in bars:
            click.echo(json.dumps(bar))

    def open(self, bars: list[Bar]) -> None:
        """Open bars change; as lines they would only repeat themselves."""


class TerminalOutput:
    """Aligned lines; when followed on a terminal, open bars move below them."""

    def __init__(self, by_date: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(highlight=False, soft_wrap=True)
        self._live = Live("", console=self._console, auto_refresh=False, transient=True)
        self._lines: Any = None
        self._by_date = by_date

    def __enter__(self) -> None:
        if self._console.is_terminal:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def finals(self, bars: list[Bar]) -> None:
        if not bars:
            return
        self._fit(bars)
        for bar in bars:
            self._console.print(self._lines.line(bar))
        sys.stdout.flush()

    def open(self, bars: list[Bar]) -> None:
        if not self._console.is_terminal:
            return
        from rich.console import Group

        if bars:
            self._fit(bars)
        self._live.update(Group(*(self._lines.line(bar) for bar in bars)), refresh=True)

    def _fit(self, bars: list[Bar]) -> None:
        from barstream.cli.bar_lines import BarLines

        if self._lines is None:
            self._lines = BarLines(bars, by_date=self._by_date, columns=self._console.width)
            self._console.print(self._lines.header())


def _is_by_date(timeframe: str) -> bool:
    """Whether buckets begin with a trading date; no for what the worker will refuse."""
    from barstream.model.period import Period

    try:
        return not Period.parse(timeframe).is_intraday
    except ValueError:
        return False
