"""The jars of Apache Kafka, resolved once by Maven from ``tests/kafka/pom.xml`` into a cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

KAFKA_VERSION = "4.3.1"
ROOT = Path(__file__).resolve().parent.parent
POM = ROOT / "tests" / "kafka" / "pom.xml"
LOG_CONFIG = ROOT / "tests" / "kafka" / "log4j2.properties"
_MAVEN_TIMEOUT_S = 600


class KafkaUnavailableError(RuntimeError):
    """Real Kafka cannot be run here: install what the message names, then run the tests again."""


def cache_dir() -> Path:
    """Directory of the jars: ``BARSTREAM_KAFKA_CACHE``, else inside the project."""
    configured = os.environ.get("BARSTREAM_KAFKA_CACHE")
    return Path(configured) if configured else ROOT / ".cache" / f"kafka-{KAFKA_VERSION}"


def find_program(name: str, why: str) -> str:
    """Path of ``name``; raises `KafkaUnavailableError` saying what to install."""
    path = shutil.which(name)
    if path is None:
        raise KafkaUnavailableError(
            f"`{name}` is not on the PATH; it is needed to {why}. "
            "Install a JDK (17 or newer) and Maven, or run the unit tests alone: pytest tests/unit"
        )
    return path


def ensure_jars() -> Path:
    """The directory with all jars, filled by Maven when it is missing or the pom has changed.

    Safe when several processes begin at once: each resolves into a directory of its own and
    one of them is renamed into place.
    """
    target = cache_dir()
    wanted = hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    if (target / f"{wanted}.complete").exists():
        return target
    mvn = find_program("mvn", "fetch Apache Kafka for the integration tests")
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    try:
        _copy_dependencies(mvn, fresh)
        (fresh / f"{wanted}.complete").touch()
        if target.exists() and not (target / f"{wanted}.complete").exists():
            target.rename(fresh.with_name(f"{fresh.name}.old"))
        try:
            fresh.rename(target)
        except OSError:
            # Another process was first: its jars are as good as ours.
            if not (target / f"{wanted}.complete").exists():
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(fresh.with_name(f"{fresh.name}.old"), ignore_errors=True)
    return target


def _copy_dependencies(mvn: str, into: Path) -> None:
    done = subprocess.run(
        [
            mvn,
            "--batch-mode",
            "--quiet",
            f"--file={POM}",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            f"-DoutputDirectory={into}",
        ],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_MAVEN_TIMEOUT_S,
    )
    if done.returncode != 0:
        raise KafkaUnavailableError(
            f"Maven could not fetch Apache Kafka {KAFKA_VERSION} (exit {done.returncode}):\n"
            + done.stdout[-2000:]
        )
