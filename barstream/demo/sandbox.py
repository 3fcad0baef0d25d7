"""A service of one's own in one directory: embedded broker, topics and a worker."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, Self

from barstream.broker import EmbeddedBroker
from barstream.broker.embedded_broker import HOST, free_port
from barstream.config import Settings, WebSettings, load_settings
from barstream.demo.child_processes import Child, ChildProcesses
from barstream.errors import BarstreamError
from barstream.kafka.topics import create

READY_WITHIN_S: Final = 60.0
POLL_S: Final = 0.3
_ANSWER_WITHIN_S: Final = 2.0


class SandboxError(BarstreamError):
    """A part did not come up: the message says which, and names its log."""


class Sandbox:
    """Broker, settings and programs that live in ``directory``; leaving the context ends them.

    The user's own settings are not used: they must not send it to a real Kafka.

    Args:
        directory: for broker, tables, logs and the settings.
        name: the app_id; the settings are in ``NAME.toml``.
        web_port: of the worker; None takes the usual one, or a free one when something listens
            there or another sandbox has it.
        extra: more settings, as the text of TOML tables other than ``[web]``.

    Attributes:
        settings: what is in force, once the context is entered.
        toml: the file of the settings, for other commands (``BARSTREAM_CONFIG``).
    """

    settings: Settings
    _children: ChildProcesses
    _port: int
    _claim: socket.socket

    def __init__(
        self, directory: Path, name: str, web_port: int | None = None, extra: str = ""
    ) -> None:
        self.directory = directory
        self.logs = directory / "logs"
        self.toml = directory / f"{name}.toml"
        self._name = name
        self._extra = extra
        self._web_port = web_port
        self._broker = EmbeddedBroker(directory / "broker")
        self._stop = asyncio.Event()

    @property
    def url(self) -> str:
        """Where the page of the worker is; known once the context is entered."""
        return f"http://{HOST}:{self._port}/"

    @property
    def port_note(self) -> str:
        """A sentence where the page is at another port than the usual one, which is taken."""
        usual = WebSettings().port
        if self._web_port is not None or self._port == usual:
            return ""
        return f"Port {usual} is taken, so the page is at another."

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End what waits here; leaving the context takes everything down."""
        self._stop.set()

    async def __aenter__(self) -> Self:
        """Start the broker and write the settings.

        Raises:
            SandboxError: something listens on the port that was asked for.
            EmbeddedBrokerError: there is no broker for this platform, or it did not start.
            ConfigError: ``extra`` is not usable.
        """
        if self._web_port is not None and not _is_free(self._web_port):
            raise SandboxError(
                f"port {self._web_port} of {HOST} must be free for the page, but something listens "
                "there: give another with --web-port, or leave it out for a free one"
            )
        self.logs.mkdir(parents=True, exist_ok=True)
        # In this thread: the broker ends when the thread that started it does.
        self._broker.start()
        self._claim = socket.socket(type=socket.SOCK_DGRAM)
        try:
            self._port = self._web_port or usual_or_free_port(self._claim)
            self.toml.write_text(
                f'app_id = "{self._name}"\n'
                f'bootstrap = "{self._broker.bootstrap}"\n'
                f"data_dir = '{self.directory / 'worker'}'\n"
                f'[web]\nhost = "{HOST}"\nport = {self._port}\n{self._extra}'
            )
            self.settings = load_settings(self.toml, env={})
        except BaseException:
            self._claim.close()
            self._broker.stop()
            raise
        kept = {k: v for k, v in os.environ.items() if not k.startswith("BARSTREAM_")}
        environment = {**kept, "BARSTREAM_CONFIG": str(self.toml), "PYTHONUNBUFFERED": "1"}
        self._children = ChildProcesses(self.logs, environment)
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await asyncio.to_thread(self._children.stop)
        finally:
            self._claim.close()
            await asyncio.to_thread(self._broker.stop)

    async def create_topics(self) -> None:
        """Every topic of the settings.

        Raises:
            BarstreamError: a topic cannot be made, or is there in another shape.
        """
        await create(self.settings)

    def start(self, name: str, *arguments: str) -> Child:
        """Run ``barstream ARGUMENTS`` with its output in ``logs/NAME.log``."""
        return self._children.start(name, arguments)

    async def worker_ready(self) -> None:
        """Wait until the worker answers reads, or `stop` is called.

        Raises:
            SandboxError: it does not within a minute.
            ChildFailedError: it has ended.
        """
        deadline = time.monotonic() + READY_WITHIN_S
        while not self.stopped:
            self.check()
            if await asyncio.to_thread(_answer, f"{self.url}health/ready") is not None:
                return
            if time.monotonic() > deadline:
                raise SandboxError(
                    f"the worker must be ready within {READY_WITHIN_S:.0f} s, but is not; its log "
                    f"is {self.logs / 'worker.log'}"
                )
            await self.sleep(POLL_S)

    async def caught_up(self, within: int = 0) -> None:
        """Wait until the worker has applied all ticks but ``within``, or `stop` is called.

        Raises:
            ChildFailedError: it has ended.
        """
        while not self.stopped:
            self.check()
            status = await self.status()
            if status is not None and status["ready"] and status["lag"] <= within:
                return
            await self.sleep(POLL_S)

    async def status(self) -> Any | None:
        """What the worker says of itself, ``GET /status``; None while it is too busy to answer."""
        body = await asyncio.to_thread(_answer, f"{self.url}status")
        return None if body is None else json.loads(body)

    def check(self) -> None:
        """Raise when a part has ended by itself.

        Raises:
            ChildFailedError: names it, with the end of its log.
            EmbeddedBrokerError: it was the broker.
        """
        self._children.check()
        self._broker.check()

    async def sleep(self, seconds: float) -> None:
        """Wait so long, or until `stop` is called."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return


def program_name() -> str:
    """How ``barstream`` is called in a shell of the current directory."""
    own = Path(sys.executable).with_name("barstream")
    found = shutil.which("barstream")
    if found is not None and Path(found).absolute() == own.absolute():
        return "barstream"
    here = Path.cwd()
    return str(own.relative_to(here) if own.is_relative_to(here) else own)


def usual_or_free_port(claim: socket.socket) -> int:
    """A port for a page: the usual one, unless something listens there or has claimed it.

    The worker listens some seconds after the port was chosen, so that two sandboxes that start
    together would choose the same.  Who takes the usual one therefore holds the UDP port of that
    number, which nothing else wants and which the system gives back however the program ends.

    Args:
        claim: a UDP socket, to be kept open for as long as the page is wanted.
    """
    usual = WebSettings().port
    try:
        claim.bind((HOST, usual))
    except OSError:
        return free_port()
    return usual if _is_free(usual) else free_port()


def _is_free(port: int) -> bool:
    """Whether a worker could listen there now."""
    with socket.socket() as trial:
        # As the worker does: connections of an earlier run that linger are no obstacle.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError:
            return False
    return True


def _answer(url: str) -> bytes | None:
    """The body of a good answer; None: there is none."""
    # a worker is near; a proxy for the wide world does not know it
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_ANSWER_WITHIN_S) as answer:
            body: bytes = answer.read()
    except (OSError, HTTPException):
        return None
    return body
