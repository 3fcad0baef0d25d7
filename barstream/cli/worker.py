"""``barstream worker``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from barstream.cli.context import settings as settings_of
from barstream.errors import ConfigError

if TYPE_CHECKING:
    from barstream.config import Settings


@click.command()
@click.option(
    "--number",
    type=click.IntRange(1, 1000),
    help="Number N of this worker on its machine: it serves web.port + N - 1 and keeps its "
    "tables in worker-N of data_dir.",
)
@click.option("--web-port", type=int, help="Port of the web views; each worker needs its own.")
@click.option(
    "--data-dir", type=click.Path(), help="Directory of local tables; each worker needs its own."
)
@click.option(
    "--loglevel",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The least that is logged.",
)
@click.pass_context
def command(
    ctx: click.Context,
    number: int | None,
    web_port: int | None,
    data_dir: str | None,
    loglevel: str,
) -> None:
    """Run a worker: ticks in, bars of every timeframe out, live and final.

    Start as many as you like with the same app_id: they share the partitions.  On one machine
    give each its own --number, or its own --data-dir and --web-port.
    """
    from barstream.worker import Worker

    overrides = _overrides_of(number, settings_of(ctx)) if number is not None else {}
    given = {"web.port": web_port, "data_dir": data_dir}
    overrides |= {name: value for name, value in given.items() if value is not None}
    ctx.exit(Worker(settings_of(ctx, overrides), loglevel).run())


def _overrides_of(number: int, shared: Settings) -> dict[str, Any]:
    """What must differ between workers that share a machine and their settings.

    Raises:
        ConfigError: a value of one worker alone cannot be shared.
    """
    alone = {
        "web.advertise_url": shared.web.advertise_url,
        "kafka.group_instance_id": shared.kafka.group_instance_id,
    }
    found = [name for name, value in alone.items() if value is not None]
    if found and number > 1:
        raise ConfigError(
            f"workers with --number share their settings, and {' and '.join(found)} must be "
            "another for each: leave it out, or give each worker a settings file of its own"
        )
    return {
        "web.port": shared.web.port + number - 1,
        "data_dir": shared.data_dir / f"worker-{number}",
    }
