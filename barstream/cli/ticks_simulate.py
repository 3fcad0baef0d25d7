"""``barstream ticks simulate``: a made-up feed."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

import click

from barstream.cli.context import Name, Time, settings
from barstream.cli.feed_stop import stopped_by_signals
from barstream.clock import system_clock_us

if TYPE_CHECKING:
    from barstream.config import Settings
    from barstream.feeds.simulated_series import Kind
    from barstream.feeds.simulated_ticks import Simulation


class Share(click.FloatRange):
    """A share of all ticks."""

    def __init__(self) -> None:
        super().__init__(0, 0.9)


@click.command("simulate")
@click.option(
    "--series", default=10, show_default=True, type=click.IntRange(1), help="Number of series."
)
@click.option(
    "--broker", default="SIM", type=Name(), show_default=True, help="Broker of the ticks."
)
@click.option(
    "--rate",
    default=100.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Ticks per second of event time, over all series.",
)
@click.option("--fast", is_flag=True, help="As fast as Kafka takes them; requires --count.")
@click.option("--count", type=click.IntRange(1), help="Stop after this many ticks.")
@click.option("--for", "seconds", type=click.FloatRange(0), help="Stop after this many seconds.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same market.")
@click.option("--from", "start", type=Time(), help="First event time; by default now.")
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Event time per wall-clock time (with --from).",
)
@click.option(
    "--bad-share",
    default=0.0,
    type=Share(),
    help="Share that is undecodable, NaN or of the far future.",
)
@click.option(
    "--late-share", default=0.0, type=Share(), help="Share that comes after its bar is final."
)
@click.option("--duplicate-share", default=0.0, type=Share(), help="Share that is sent twice.")
@click.option(
    "--out-of-order-share",
    default=0.0,
    type=Share(),
    help="Share that comes late, within the grace.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON object.")
@click.pass_context
def simulate(
    ctx: click.Context,
    *,
    series: int,
    broker: str,
    rate: float,
    fast: bool,
    count: int | None,
    seconds: float | None,
    seed: int,
    start: int | None,
    speed: float,
    bad_share: float,
    late_share: float,
    duplicate_share: float,
    out_of_order_share: float,
    as_json: bool,
) -> None:
    """Send made-up ticks: busy and thin series, and what a real feed gets wrong.

    At the end the counts by kind are printed, to compare with ticks_rejected.
    """
    if fast and count is None:
        raise click.UsageError("--fast needs --count: it would never end")
    if fast and seconds is not None:
        raise click.UsageError("--for is for a feed by the clock, not for --fast")
    from barstream.feeds.simulated_ticks import Simulation, SimulationRules

    chosen = settings(ctx)
    try:
        rules = SimulationRules(
            series=series,
            rate_per_s=rate,
            seed=seed,
            grace_us=chosen.bars.grace_us,
            out_of_order_share=out_of_order_share,
            duplicate_share=duplicate_share,
            late_share=late_share,
            bad_share=bad_share,
            intraday=start is not None,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    began = time.monotonic()
    counts = asyncio.run(
        _simulate(chosen, Simulation(rules), broker, start, speed, count, seconds, fast=fast)
    )
    _print_counts(counts, time.monotonic() - began, as_json=as_json)


async def _simulate(
    chosen: Settings,
    simulation: Simulation,
    broker: str,
    start_us: int | None,
    speed: float,
    count: int | None,
    seconds: float | None,
    *,
    fast: bool,
) -> dict[Kind, int]:
    from barstream.cli.progress import TickProgress
    from barstream.errors import BarstreamError
    from barstream.feeds.column_encoder import tick_encoder
    from barstream.feeds.load_plan import partitions_of
    from barstream.feeds.simulation import SimulatedFeed
    from barstream.kafka.clients import KafkaError
    from barstream.kafka.cluster import Cluster
    from barstream.model.time import MINUTE_US, SECOND_US

    cluster = Cluster(chosen)
    topic = cluster.names.ticks
    [partitions] = await partitions_of(chosen, topic)
    with TickProgress("simulated") as progress:
        feed = SimulatedFeed(
            simulation,
            broker=chosen.ticks.name_rule.normalise(broker),
            partitions=partitions,
            encoder=await tick_encoder(chosen.ticks, topic),
            cluster=cluster,
            watcher=progress,
        )
        with stopped_by_signals(feed.stop):
            try:
                if fast and count is not None:
                    span_us = int(count / simulation.rules.rate_per_s * SECOND_US)
                    # by default the past up to now, with room for a stretch that is quieter
                    from_us = system_clock_us() - span_us * 3 // 2 - MINUTE_US
                    await feed.fast(from_us if start_us is None else start_us, count)
                else:
                    await feed.by_clock(start_us, speed, count, seconds)
            except KafkaError as error:
                raise BarstreamError(
                    f"Kafka took {sum(feed.counts.values()):,} ticks, then failed: {error!r}"
                ) from error
    return feed.counts


def _print_counts(counts: dict[Kind, int], seconds: float, *, as_json: bool) -> None:
    from barstream.feeds.simulated_series import REASONS

    total = sum(counts.values())
    if as_json:
        by_kind = {kind.name.lower(): count for kind, count in counts.items()}
        rejected = {reason: counts[kind] for kind, reason in REASONS.items()}
        click.echo(
            json.dumps(
                {"ticks": total, "seconds": round(seconds, 3), **by_kind, "rejected": rejected}
            )
        )
        return
    from rich.table import Table

    from barstream.cli.table import print_table

    table = Table("kind", "ticks", "ticks_rejected", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for kind, count in counts.items():
        table.add_row(kind.name.lower().replace("_", " "), f"{count:,}", REASONS.get(kind, ""))
    table.add_row("all", f"{total:,}", "")
    print_table(table)
