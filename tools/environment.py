"""Makes the environment from requirements-dev.lock and says every few seconds what it does.

``python3 tools/environment.py DIRECTORY``; `make` calls it.  It runs before anything is
installed, so it has nothing but the standard library.
"""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = "requirements-dev.lock"
#: Between two lines in a log; a terminal has one line, written anew.
_LOG_EVERY_S: Final = 5.0
_TERMINAL_EVERY_S: Final = 0.5


class PipProgress:
    """What pip does, from the lines it prints and from what is there.

    Args:
        lock: text of the requirements, each pinned.
        directory: of the environment.
    """

    def __init__(self, lock: str, directory: Path) -> None:
        self.total = len(re.findall(r"^[A-Za-z0-9].*==", lock, re.MULTILINE))
        self._directory = directory
        self._collected = 0  # the total is known with the first: those ignored come before
        self._present: int | None = None
        self._file = ""

    def read(self, line: str) -> None:
        """Take notice of a line of pip's output."""
        words = line.split()
        match words[:1]:
            case ["Ignoring"]:  # of another system or version of Python
                self.total -= 1
            case ["Collecting"]:
                self._collected += 1
                self._file = ""
            case ["Downloading"]:
                name = Path(words[1]).name.split("-")[0]
                self._file = " ".join([name, *words[2:]])
            case ["Installing"]:
                self._present = self._count()

    def __str__(self) -> str:
        if self._present is not None:
            return f"installed {self._count() - self._present} of {self.total} packages"
        if not self._collected:
            return "pip reads which packages are needed"
        file = f", downloading {self._file}" if self._file else ""
        return f"collected {self._collected} of {self.total} packages{file}"

    def _count(self) -> int:
        """Packages in the environment; pip names none of them before all are there."""
        return sum(1 for _ in self._directory.glob("lib/python*/site-packages/*.dist-info"))


class Screen:
    """Lines for a log, or one line of a terminal that is written anew."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._terminal = sys.stdout.isatty()
        self.every_s = _TERMINAL_EVERY_S if self._terminal else _LOG_EVERY_S

    def step(self, text: str) -> None:
        """Say what goes on."""
        line = f"  {time.monotonic() - self._began:3.0f} s  {text}"
        print(f"\r\x1b[K{line}" if self._terminal else line, end="", flush=True)
        if not self._terminal:
            print(flush=True)

    def pass_on(self, line: str) -> None:
        """Print a warning or an error as it is."""
        if self._terminal:
            print("\r\x1b[K", end="", flush=True)
        print(line, end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line of a terminal."""
        if self._terminal:
            print(flush=True)


def run_pip(directory: Path, arguments: Sequence[str], screen: Screen, progress: object) -> None:
    """Run pip, see `run`.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    python = str(directory.absolute() / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar", "off"]
    run([*pip, *arguments], screen, progress)


def run(command: Sequence[str], screen: Screen, progress: object) -> None:
    """Run a program; its errors are passed on, its other lines are for ``progress``.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    screen.step(str(progress))
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
    ) as program:  # fmt: skip
        lines: queue.Queue[tuple[str, str]] = queue.Queue()
        for name, stream in (("out", program.stdout), ("err", program.stderr)):
            threading.Thread(target=_forward, args=(name, stream, lines), daemon=True).start()
        running = 2
        due = time.monotonic() + screen.every_s
        while running:
            try:
                name, line = lines.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                screen.step(str(progress))
                due = time.monotonic() + screen.every_s
                continue
            if not line:
                running -= 1
            elif name == "err":
                screen.pass_on(line)
            elif isinstance(progress, PipProgress):
                progress.read(line)
    if program.returncode:
        raise subprocess.CalledProcessError(program.returncode, command)


def _forward(name: str, stream: IO[str], lines: queue.Queue[tuple[str, str]]) -> None:
    """Put every line into the queue, and an empty one at the end."""
    for line in stream:
        lines.put((name, line))
    lines.put((name, ""))


def make(directory: Path) -> None:
    """Make the environment anew.

    Raises:
        subprocess.CalledProcessError: a step failed and has said why.
    """
    screen = Screen()
    version = ".".join(map(str, sys.version_info[:3]))
    print(
        f"Making the environment in {directory} with Python {version}: a minute or two, several "
        "where the machine or the network is busy",
        flush=True,
    )
    venv = [sys.executable, "-m", "venv", "--clear", str(directory.absolute())]
    run(venv, screen, "an empty environment")
    progress = PipProgress((ROOT / LOCK).read_text(encoding="utf-8"), directory)
    run_pip(directory, ["--require-hashes", "--requirement", LOCK], screen, progress)
    own = ["--quiet", "--no-deps", "--no-build-isolation", "--editable", "."]
    run_pip(directory, own, screen, f"installed {progress.total} packages; now barstream itself")
    screen.step("done")
    screen.end()


if __name__ == "__main__":
    try:
        make(Path(sys.argv[1]))
    except subprocess.CalledProcessError as error:
        raise SystemExit(
            f"The environment must be made from {LOCK}, and that failed: the reason stands above."
        ) from error
