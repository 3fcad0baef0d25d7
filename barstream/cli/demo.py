"""``barstream demo``: broker, topics, schedule, feed and worker in one go."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from barstream.plurals import counted

if TYPE_CHECKING:
    from barstream.demo import Demo


@click.command("demo")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep everything in it; by default a temporary directory, removed at the end.",
)
@click.option(
    "--web-port",
    type=click.IntRange(1, 65_535),
    help="Port of the page; by default 6066, or a free one if that is taken.",
)
@click.option(
    "--series", default=6, show_default=True, type=click.IntRange(1, 10), help="Number of series."
)
@click.option(
    "--rate", default=6.0, show_default=True, type=click.FloatRange(0, min_open=True),
    help="Live ticks per second, over all series.",
)  # fmt: skip
@click.option("--open", "open_page", is_flag=True, help="Open the page in a browser.")
@click.option("--for", "seconds", type=click.FloatRange(0), help="Stop after this many seconds.")
def command(
    data_dir: Path | None,
    web_port: int | None,
    series: int,
    rate: float,
    open_page: bool,
    seconds: float | None,
) -> None:
    """Watch a market: days of history at once, then live bars; Ctrl-C ends everything.

    The market is made up: busy and thin series, one that trades at weekends, a correction that
    comes late, a tick that is rejected.  Nothing needs to be installed or configured, and your
    own settings are not used.
    """
    from barstream.demo import Demo, DemoRules
    from barstream.demo.display import DemoScreen

    if data_dir is not None:
        _refuse_used(data_dir)
    screen = DemoScreen()
    with tempfile.TemporaryDirectory(prefix="barstream-demo-") as scratch:
        place = (data_dir or Path(scratch)).resolve()
        rules = DemoRules(place, web_port, series, rate, seconds, open_page, data_dir is not None)
        demo = Demo(rules, screen)
        asyncio.run(_run(demo))
    bars = counted(demo.finals, "final bar")
    screen.say(f"everything is stopped, {bars} came while it ran")


def _refuse_used(data_dir: Path) -> None:
    """A past that is loaded twice would change the bars that are there."""
    if (data_dir / "broker").exists():
        raise click.BadParameter(
            f"the directory must hold no earlier demo, but {data_dir} has the data of one: name "
            "another, or delete it",
            param_hint="--data-dir",
        )


async def _run(demo: Demo) -> None:
    from barstream.cli.feed_stop import stopped_by_signals

    with stopped_by_signals(demo.stop):
        await demo.run()
