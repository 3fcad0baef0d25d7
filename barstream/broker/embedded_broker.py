"""The embedded broker as a child process: started, waited for, stopped, never left behind."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from barstream.broker import child_process
from barstream.broker.errors import EmbeddedBrokerError, PortTakenError

HOST: Final = "127.0.0.1"
_READY_WITHIN_S: Final = 20.0
_STOP_WITHIN_S: Final = 30.0
#: A connection in /proc/net/tcp that neither end has closed.
_ESTABLISHED: Final = "01"
#: ApiVersions v0 of the Kafka protocol: size, api 18, version 0, correlation id 1, client "b".
#: Any broker answers it, also before it knows who asks.
ASK_VERSIONS: Final = struct.pack(">ihhih1s", 11, 18, 0, 1, 1, b"b")


class EmbeddedBroker:
    """A broker of one process that speaks Kafka; use it as a context manager.

    It is for trying things out: everything is kept in memory and written to ``data_dir`` now and
    then and when it stops in good order, so a kill -9 of it loses acknowledged records.

    On Linux it also stops when the process that started it is killed (strictly: when the thread
    that entered the context ends).

    Args:
        data_dir: made when missing; one broker at a time.
        port: None takes a free one, see `bootstrap`.
    """

    def __init__(self, data_dir: Path, port: int | None = None, host: str = HOST) -> None:
        self.data_dir = data_dir
        self.host = host
        self.port = free_port(host) if port is None else port
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def bootstrap(self) -> str:
        """``host:port`` for clients."""
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    @property
    def connections(self) -> int | None:
        """How many clients are connected; None where the system does not tell."""
        try:
            rows = Path("/proc/net/tcp").read_text().splitlines()[1:]
        except OSError:
            return None
        # number, local and remote address (hexadecimal, host:port), state
        sockets = [row.split()[1:4] for row in rows]
        ours = f":{self.port:04X}"
        return sum(local.endswith(ours) and state == _ESTABLISHED for local, _, state in sockets)

    @property
    def log_path(self) -> Path:
        """What it prints."""
        return self.data_dir / "broker.log"

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            PortTakenError: something listens on the port.
            EmbeddedBrokerError: it did not start, or there is none for this platform.
        """
        program = _program()
        _refuse_used_port(self.host, self.port)
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command = [str(program), "start", "--only", "kafka", "--kafka-port", str(self.port)]
        command += ["--host", self.host, "--data-dir", str(self.data_dir.resolve())]
        if sys.platform.startswith("linux"):
            command = [
                sys.executable,
                "-I",
                "-S",
                child_process.__file__,
                str(os.getpid()),
                *command,
            ]
        # Appended to: when the directory is in use, this is the log of the broker that uses it.
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for us: we stop it in good order.
                start_new_session=True,
            )
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Have it write its data and end; kill it when it does not within 30 s."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def check(self) -> None:
        """Raise `EmbeddedBrokerError` when it has ended by itself."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            raise EmbeddedBrokerError(
                f"the embedded broker must keep running, but it ended with exit code {code}: "
                f"{self._last_words()}"
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        while not _answers(self.host, self.port):
            self.check()
            if time.monotonic() > deadline:
                raise EmbeddedBrokerError(
                    f"the embedded broker must answer at {self.bootstrap} within "
                    f"{_READY_WITHIN_S:.0f} s, but does not: {self._last_words()}"
                )
            time.sleep(0.05)

    def _last_words(self) -> str:
        said = self.log_path.read_bytes()[self._log_start :]
        lines = said.decode(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("error")]
        return " ".join(errors or lines[-3:]) or f"it printed nothing ({self.log_path})"


def _program() -> Path:
    """Path of the binary in the wheel.

    Raises:
        EmbeddedBrokerError: there is none.
    """
    advice = (
        "run Apache Kafka instead (compose.yaml holds one) and set BARSTREAM_BOOTSTRAP to its "
        "address"
    )
    name = "noida-db.exe" if os.name == "nt" else "noida-db"
    try:
        path = Path(str(resources.files("noida_db") / name))
    except ModuleNotFoundError as error:
        raise EmbeddedBrokerError(
            "the embedded broker is the package noida-db, which is not installed: "
            f"`pip install 'barstream[embedded]'`, or {advice}"
        ) from error
    if not path.is_file():
        raise EmbeddedBrokerError(f"noida-db has no program for this platform: {advice}")
    if not os.access(path, os.X_OK):
        path.chmod(path.stat().st_mode | 0o755)
    return path


def free_port(host: str = HOST) -> int:
    """A port that nothing listens on."""
    with socket.socket() as trial:
        trial.bind((host, 0))
        return int(trial.getsockname()[1])


def _refuse_used_port(host: str, port: int) -> None:
    with socket.socket() as trial:
        # As the broker itself does: connections of an earlier run that linger are no obstacle.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            raise PortTakenError(host, port) from error


def _answers(host: str, port: int) -> bool:
    """Whether something there answers a Kafka request."""
    try:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.sendall(ASK_VERSIONS)
            return len(connection.recv(8)) > 0
    except OSError:
        return False
