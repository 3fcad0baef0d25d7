"""A worker in no more memory than docs/capacity.md says, held to it by the kernel.

What is resident counts there, as in a container; ``RLIMIT_DATA`` would count what is mapped and
never touched as well, which is a hundred MiB more.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tests.pipeline import ROOT

_MOUNTS: Final = Path("/proc/self/mounts")


def figure_mib() -> float:
    """What the page says that a worker of four partitions takes."""
    page = (ROOT / "docs" / "capacity.md").read_text()
    found = re.search(r"\n\| 100 series, 1,000 ticks/s \| [\d.]+ \| 4 \| ([\d.]+) GiB", page)
    assert found, "docs/capacity.md has no such example"
    return float(found[1]) * 1024


class MemoryCgroup:
    """A cgroup of its own, where the machine has a memory controller and lets us make one.

    Attributes:
        prefix: of the command that is to run in it; empty where there is none.
    """

    def __init__(self, directory: Path | None) -> None:
        self.prefix: Sequence[str] = ()
        self._directory = directory
        if directory is not None:
            join = f'echo $$ > {directory / "cgroup.procs"} && exec "$@"'
            self.prefix = ("sh", "-c", join, "sh")

    @property
    def kills(self) -> int:
        """How many processes in it were killed for want of memory."""
        if self._directory is None:
            return 0
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                said = (self._directory / name).read_text()
                return int(dict(line.split() for line in said.splitlines())["oom_kill"])
        return 0


@contextmanager
def memory_cgroup(most_mib: float) -> Iterator[MemoryCgroup]:
    """What runs in it is killed when it needs more; it is empty before it is left."""
    directory, limit = _made()
    if directory is None:
        yield MemoryCgroup(None)
        return
    try:
        (directory / limit).write_text(str(round(most_mib * (1 << 20))))
        yield MemoryCgroup(directory)
    finally:
        directory.rmdir()


def _made() -> tuple[Path | None, str]:
    """A new cgroup and the file of its limit; None: the machine has no controller for us."""
    if os.geteuid() == 0 and _MOUNTS.exists():
        for line in _MOUNTS.read_text().splitlines():
            _, place, kind, options, *_ = line.split()
            parent = Path(place)
            if kind == "cgroup" and "memory" in options.split(","):
                limit = "memory.limit_in_bytes"
            elif kind == "cgroup2" and _delegates(parent):
                limit = "memory.max"
            else:
                continue
            directory = parent / f"barstream-{secrets.token_hex(4)}"
            with suppress(OSError):
                directory.mkdir()
                return directory, limit
    return None, ""


def _delegates(parent: Path) -> bool:
    with suppress(OSError):
        return "memory" in (parent / "cgroup.subtree_control").read_text().split()
    return False
