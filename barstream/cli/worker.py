"""``barstream worker``."""

from __future__ import annotations

import asyncio

import click

from barstream.cli.context import settings as settings_of


@click.command()
@click.option("--web-port", type=int, help="Port of the web views; one per worker.")
@click.option("--data-dir", type=click.Path(), help="Local tables; one directory per worker.")
@click.option(
    "--loglevel",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
@click.pass_context
def command(ctx: click.Context, web_port: int | None, data_dir: str | None, loglevel: str) -> None:
    """Run a worker: ticks in, bars of every timeframe out, live and final.

    Start as many as you like with the same app_id: they share the partitions.  Give each its own
    --data-dir and, on one machine, its own --web-port.
    """
    from barstream.topics import require
    from barstream.worker import Worker

    overrides = {
        name: value
        for name, value in (("web.port", web_port), ("data_dir", data_dir))
        if value is not None
    }
    settings = settings_of(ctx, overrides)
    asyncio.run(require(settings))
    worker = Worker(settings)
    code = worker.run(loglevel)
    if worker.app.failure is not None:
        click.echo(f"worker stopped: {worker.app.failure}", err=True)
    ctx.exit(code)
