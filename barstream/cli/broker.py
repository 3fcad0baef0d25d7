"""``barstream broker``: the embedded broker in the foreground."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path

import click

from barstream.cli.context import settings as settings_of

_DEFAULT_PORT = 9092
_LOCAL = ("127.0.0.1", "localhost")


@click.command("broker")
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    help="Port to listen on; by default that of bootstrap if that is on this machine, else "
    f"{_DEFAULT_PORT}.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where it keeps its data; by default broker/ in data_dir.",
)
@click.option(
    "--drain",
    "drain_s",
    type=click.FloatRange(0, 3_600),
    default=0,
    metavar="SECONDS",
    help="When it is told to stop, go on serving for at most this long while clients are "
    "connected, so that workers stopped at the same time can end cleanly.",
)
@click.pass_context
def command(ctx: click.Context, port: int | None, data_dir: Path | None, drain_s: float) -> None:
    """Run the embedded Kafka-compatible broker until Ctrl-C.

    It is for trying things out: stopped cleanly, it keeps its data; killed, it may lose records
    that it had acknowledged.  For anything you would miss, run Apache Kafka.
    """
    from barstream.broker import EmbeddedBroker
    from barstream.kafka.dead_members import MemberWatch

    # what it does not get done it does again
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    settings = settings_of(ctx)
    place = data_dir or settings.data_dir / "broker"
    broker = EmbeddedBroker(place, port or _port_of(settings.bootstrap))
    stop, at_once = threading.Event(), threading.Event()

    def asked(*_: object) -> None:
        (at_once if stop.is_set() else stop).set()

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), asked)
    with broker:
        click.echo(f"broker ready at {broker.bootstrap}, data in {place} (Ctrl-C stops it)")
        if settings.bootstrap != broker.bootstrap:
            click.echo(f"for the other commands: export BARSTREAM_BOOTSTRAP={broker.bootstrap}")
        with MemberWatch(broker.bootstrap):
            while not stop.wait(0.5):
                broker.check()
        deadline = time.monotonic() + drain_s
        while broker.connections != 0 and time.monotonic() < deadline and not at_once.wait(0.1):
            broker.check()
    click.echo("broker stopped")


def _port_of(bootstrap: str) -> int:
    host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
    return int(port) if host in _LOCAL else _DEFAULT_PORT
