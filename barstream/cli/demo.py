"""``barstream demo``: broker, topics, schedule, feed and worker in one go."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from barstream.demo import Demo


@click.command("demo")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep everything there; by default a temporary directory, removed at the end.",
)
@click.option("--web-port", type=click.IntRange(1, 65_535), help="By default a free one.")
@click.option("--series", default=6, show_default=True, type=click.IntRange(1), help="How many.")
@click.option(
    "--rate", default=40.0, show_default=True, type=click.FloatRange(0, min_open=True),
    help="Ticks a second, over all series.",
)  # fmt: skip
@click.option("--for", "seconds", type=click.FloatRange(0), help="End after so many seconds.")
@click.pass_context
def command(
    ctx: click.Context,
    data_dir: Path | None,
    web_port: int | None,
    series: int,
    rate: float,
    seconds: float | None,
) -> None:
    """Watch gap-free bars appear; Ctrl-C ends all of it.

    Nothing needs to be installed or configured, and your own settings are not used.  Exit code
    0 when final bars were seen, and after Ctrl-C.
    """
    from barstream.demo import Demo, DemoRules
    from barstream.demo.shown import DemoScreen

    # What the clients log while the broker goes away is no news.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    screen = DemoScreen()
    with tempfile.TemporaryDirectory(prefix="barstream-demo-") as scratch:
        place = (data_dir or Path(scratch)).resolve()
        demo = Demo(DemoRules(place, web_port, series, rate, seconds), screen)
        stopped = asyncio.run(_run(demo))
    screen.say(f"everything is stopped, {demo.finals} final bars were seen")
    if not demo.finals and not stopped:
        ctx.exit(1)


async def _run(demo: Demo) -> bool:
    from barstream.cli.feeding import stopped_by_signals

    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        demo.stop()

    with stopped_by_signals(stop):
        await demo.run()
    return stopped
