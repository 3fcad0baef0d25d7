"""The jars of Apache Kafka, resolved once by Maven from ``tests/kafka/pom.xml`` into a cache.

``BARSTREAM_TEST_KAFKA_VERSION=3.9`` has all tests run on another version.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

KAFKA_VERSION: Final = "4.3.1"
#: The newest of the oldest minor versions that are held to work (`tests/upgrade`, the README).
OLDER_VERSIONS: Final = ("3.9.2", "4.0.2")
ROOT = Path(__file__).resolve().parent.parent
POM = ROOT / "tests" / "kafka" / "pom.xml"
LOG_CONFIG = ROOT / "tests" / "kafka" / "log4j2.properties"
_MAVEN_TIMEOUT_S = 600
_TOOL_TIMEOUT_S = 60


class KafkaUnavailableError(RuntimeError):
    """Real Kafka cannot be run here: install what the message names, then run the tests again."""


def version_asked_for() -> str:
    """What this run's brokers are unless they say otherwise: a version, or the start of one."""
    asked = os.environ.get("BARSTREAM_TEST_KAFKA_VERSION") or KAFKA_VERSION
    known = (KAFKA_VERSION, *OLDER_VERSIONS)
    return next((each for each in known if f"{each}.".startswith(f"{asked}.")), asked)


def cache_dir(version: str) -> Path:
    """Directory of the jars: in ``BARSTREAM_KAFKA_CACHE``, else inside the project."""
    configured = os.environ.get("BARSTREAM_KAFKA_CACHE")
    return (Path(configured) if configured else ROOT / ".cache") / f"kafka-{version}"


def find_program(name: str, why: str) -> str:
    """Path of ``name``; raises `KafkaUnavailableError` saying what to install."""
    path = shutil.which(name)
    if path is None:
        raise KafkaUnavailableError(
            f"`{name}` is not on the PATH; it is needed to {why}. "
            "Install a JDK (17 or newer) and Maven, or run the unit tests alone: pytest tests/unit"
        )
    return path


def ensure_jars(version: str | None = None, timeout_s: float = _MAVEN_TIMEOUT_S) -> Path:
    """The directory with all jars, filled by Maven when it is missing or the pom has changed.

    Args:
        version: of Apache Kafka; None: the one that is asked for.
        timeout_s: how long Maven may take.

    Raises:
        KafkaUnavailableError: no Maven, or it could not fetch them.
    """
    version = version or version_asked_for()
    mvn_goal = [
        f"--file={POM}",
        "dependency:copy-dependencies",
        f"-Dkafka.version={version}",
        "-DincludeScope=runtime",
    ]

    def fill(fresh: Path) -> None:
        run_maven(
            f"fetch Apache Kafka {version}",
            *mvn_goal,
            f"-DoutputDirectory={fresh}",
            timeout_s=timeout_s,
        )

    return filled_directory(cache_dir(version), POM.read_bytes(), fill)


def filled_directory(target: Path, source: bytes, fill: Callable[[Path], None]) -> Path:
    """``target``, filled by ``fill`` when it is missing or ``source`` has changed since.

    Safe when several processes begin at once: each fills a directory of its own and one of them
    is renamed into place.

    Args:
        target: where the files are to be in the end.
        source: what they are made from; only its hash is kept.
        fill: puts the files into the directory it is given.
    """
    wanted = hashlib.sha256(source).hexdigest()[:16]
    if (target / f"{wanted}.complete").exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        fill(fresh)
        (fresh / f"{wanted}.complete").touch()
        if target.exists() and not (target / f"{wanted}.complete").exists():
            target.rename(fresh.with_name(f"{fresh.name}.old"))
        try:
            fresh.rename(target)
        except OSError:
            # Another process was first: its files are as good as ours.
            if not (target / f"{wanted}.complete").exists():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(fresh.with_name(f"{fresh.name}.old"), ignore_errors=True)
    return target


def run_tool(program: str, bootstrap: str, *arguments: str) -> str:
    """What a tool of Apache Kafka prints, such as ``kafka.admin.ConfigCommand``.

    It is the newest version's, which older brokers understand.

    Raises:
        RuntimeError: it failed, with what it said.
    """
    java = find_program("java", f"run {program}")
    base = [java, "-XX:TieredStopAtLevel=1", "-cp", f"{ensure_jars(KAFKA_VERSION)}/*", program]
    done = subprocess.run(
        [*base, "--bootstrap-server", bootstrap, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=_TOOL_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{program} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def run_maven(task: str, *arguments: str, timeout_s: float = _MAVEN_TIMEOUT_S) -> None:
    """Maven in batch mode with these arguments; ``task`` says what for: "fetch Apache Kafka".

    Raises:
        KafkaUnavailableError: there is no Maven, or it could not do it in time.
    """
    mvn = find_program("mvn", task)
    try:
        done = subprocess.run(
            [mvn, "--batch-mode", "--quiet", *arguments],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise KafkaUnavailableError(
            f"Maven must {task} within {timeout_s:.0f} s, and has not"
        ) from error
    if done.returncode != 0:
        raise KafkaUnavailableError(
            f"Maven could not {task} (exit {done.returncode}):\n" + done.stdout[-2000:]
        )
