"""The peers: how each is built and started, what it emits, and what it does not do.

Each is one process, to be started with `ROOT` as its working directory and ended by SIGTERM.  It
reads the ticks from the earliest offset and writes bars of `bar.avsc`; on standard output it prints
one line of JSON when it is about to read (``{"event": "assigned", "at_ms": ...}``) and one when it
has ended in good order (``{"event": "ended", "skipped": ...}``); other lines are the frameworks'.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tests.kafka_jars import KafkaUnavailableError, filled_directory, find_program, run_maven

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
CACHE: Final = ROOT / ".cache" / "peers"
#: Modules of `pom.xml`; each has a directory of jars of its own, as their Kafka clients differ.
JAVA: Final = ("kafka_streams", "flink")
QUIX_LOCK: Final = HERE / "quix.lock"
_MAVEN_TIMEOUT_S: Final = 900
_PIP_TIMEOUT_S: Final = 600

_Guarantee = Literal["exactly_once", "at_least_once"]
_GUARANTEES: Final[tuple[_Guarantee, ...]] = ("exactly_once", "at_least_once")


@dataclass(frozen=True)
class Peer:
    """One way to make the same bars.

    Attributes:
        name: key in `PEERS`.
        title: as a table shows it.
        command: program and its own options, before those of a run.
        emits: ``live``: updates, of which the last of a key and minute counts; ``final``: each bar
            once.
        note: what it does less, or otherwise, than a reader of the table would think.
        built: what `ensure_built` makes for it; empty: nothing.
        guarantees: values of ``--guarantee``, the default first; empty: it has no such option.
    """

    name: str
    title: str
    command: tuple[str, ...]
    emits: Literal["live", "final"]
    note: str
    built: str = ""
    guarantees: tuple[_Guarantee, ...] = ()

    def arguments(
        self,
        *,
        bootstrap: str,
        ticks: str,
        bars: str,
        app_id: str,
        state: Path,
        grace_ms: int,
        guarantee: _Guarantee | None = None,
    ) -> list[str]:
        """The whole command line of a run.

        Raises:
            ValueError: it has no such guarantee.
        """
        line = [
            *self.command, "--bootstrap", bootstrap, "--ticks", ticks, "--bars", bars,
            "--app-id", app_id, "--state", str(state), "--grace-ms", str(grace_ms),
        ]  # fmt: skip
        if guarantee is not None:
            if guarantee not in self.guarantees:
                raise ValueError(
                    f"the guarantee of {self.name} must be one of "
                    f"{', '.join(self.guarantees) or 'none: it has no such option'}, found "
                    f"{guarantee}"
                )
            line += ["--guarantee", guarantee]
        return line


def _java(module: str, main: str, *options: str) -> tuple[str, ...]:
    """A Java program on its jars; the collector is the one a JVM on one core takes by itself."""
    warnings = ("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",)
    path = ("-cp", str(CACHE / module / "*"))
    return ("java", "-XX:+UseSerialGC", *options, *warnings, *path, f"barstream.bench.{main}")


_QUIET: Final = "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.streams"
_STREAMS: Final = _java(
    "kafka_streams",
    "KafkaStreamsBars",
    "-Xmx1g",
    # a warning, with its stack, for every value that is no tick, and a line for every late one
    f"{_QUIET}.processor.internals.RecordDeserializer=error",
    f"{_QUIET}.kstream.internals.KStreamWindowAggregate=error",
)
_FLINK: Final = _java(
    "flink",
    "FlinkBars",
    "-Xmx1g",
    # what its own start script gives a JVM of today, as far as it matters here
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
)
_QUIX: Final = (str(CACHE / "quix" / "venv" / "bin" / "python"), "-m", "bench.peers.quix")

#: In the order of the table.
PEERS: Final[dict[str, Peer]] = {
    peer.name: peer
    for peer in (
        Peer(
            "kafka_streams_live",
            "Kafka Streams 4.3.1, live",
            (*_STREAMS, "--emit", "live"),
            "live",
            "updates as its record cache gives them, with a commit every 100 ms",
            "kafka_streams",
            _GUARANTEES,
        ),
        Peer(
            "kafka_streams_final",
            "Kafka Streams 4.3.1, emit-final",
            (*_STREAMS, "--emit", "final"),
            "final",
            "a minute closes by the time of its partition, and only while ticks come",
            "kafka_streams",
            _GUARANTEES,
        ),
        Peer(
            "flink",
            "Flink 2.0.1",
            _FLINK,
            "final",
            "a minute closes by the least time of all partitions, and only while ticks come; what "
            "it writes is committed with a checkpoint, once a second",
            "flink",
            _GUARANTEES,
        ),
        Peer(
            "quix_live",
            "Quix Streams 3.28.1, current",
            (*_QUIX, "--emit", "live"),
            "live",
            "an update a tick, committed every 100 ms",
            "quix",
            _GUARANTEES,
        ),
        Peer(
            "quix_final",
            "Quix Streams 3.28.1, final",
            (*_QUIX, "--emit", "final"),
            "final",
            "a minute closes by the next tick of the same series",
            "quix",
            _GUARANTEES,
        ),
        Peer(
            "plain_faust",
            "plain Faust",
            (sys.executable, "-m", "bench.peers.plain_faust"),
            "live",
            "a table update and an update a tick, at least once; knows what is late until it is "
            "started again",
        ),
    )
}


def ensure_built(names: Iterable[str] = PEERS) -> None:
    """Build what these peers need, once: jars by Maven, the environment of Quix Streams by pip.

    Raises:
        KafkaUnavailableError: Java, Maven or what they fetch is not to be had here.
        RuntimeError: pip could not make the environment, with what it said.
    """
    wanted = {PEERS[name].built for name in names}
    for module in JAVA:
        if module in wanted:
            _build_jars(module)
    if "quix" in wanted:
        filled_directory(CACHE / "quix", QUIX_LOCK.read_bytes(), _install_quix)


def _build_jars(module: str) -> None:
    """The jars of one Java peer: its own, and all it needs at run time."""
    find_program("java", f"run the peer {module}")
    sources = [HERE / "pom.xml", *_sources("records"), *_sources(module)]

    def build(fresh: Path) -> None:
        classes = fresh / "build"
        run_maven(
            f"build the peer {module}",
            f"--file={HERE / 'pom.xml'}",
            f"--projects={module}",
            "--also-make",
            "package",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={fresh}",
            f"-Dbuild.root={classes}",
            timeout_s=_MAVEN_TIMEOUT_S,
        )
        for jar in classes.glob("*/*.jar"):
            shutil.copy(jar, fresh)
        shutil.rmtree(classes)

    filled_directory(CACHE / module, b"\0".join(path.read_bytes() for path in sources), build)


def _sources(module: str) -> list[Path]:
    return [HERE / module / "pom.xml", *sorted((HERE / module / "src").rglob("*.java"))]


def _install_quix(fresh: Path) -> None:
    """An environment of its own: it is no dependency of what it is compared with."""
    directory = fresh / "venv"
    venv.create(directory, with_pip=True, symlinks=True)
    done = subprocess.run(
        [
            str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet",
            "--disable-pip-version-check", "--require-hashes", "--requirement", str(QUIX_LOCK),
        ],
        check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=_PIP_TIMEOUT_S,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"pip could not install {QUIX_LOCK.name}:\n{done.stdout[-2000:]}")


__all__ = ["JAVA", "PEERS", "ROOT", "KafkaUnavailableError", "Peer", "ensure_built"]
