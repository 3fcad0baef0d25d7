"""A worker's disk: full, wiped, damaged, or with the tables of another time."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from tests.chaos.faults.base import Fault, Scene
from tests.chaos.runs.crew import Slot

_BLOCK = bytes(1 << 16)
#: Takes the room there is; no part of any state.
_BALLAST = "ballast"


class Tmpfs:
    """A small file system in memory that can be filled to the last byte."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def mount(self, mebibytes: int) -> None:
        """Put it there, empty."""
        self._place.mkdir(parents=True, exist_ok=True)
        size = f"size={mebibytes}m"
        subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(self._place)], check=True)

    def fill(self) -> int:
        """Take all the room there is; bytes taken."""
        path, taken = self._place / _BALLAST, 0
        with path.open("wb", buffering=0) as out:
            try:
                while True:
                    taken += out.write(_BLOCK)
            except OSError:
                return taken

    def free(self) -> None:
        """Give it back."""
        (self._place / _BALLAST).unlink(missing_ok=True)

    def remove(self) -> None:
        """Unmount; nothing may run in it any more."""
        subprocess.run(["umount", "-l", str(self._place)], check=False, capture_output=True)


def lacks_mount() -> str | None:
    """What is missing to mount a file system here."""
    if os.geteuid() != 0:
        return "root, to mount a small file system"
    return None if shutil.which("mount") else "the command mount"


class DiskFull(Fault):
    """The file system of a worker's tables has no byte left; later it has."""

    name = "disk_full"
    thing = "directory"
    shortest_s = 2.0
    longest_s = 4.0
    ends_workers = True

    @classmethod
    def lacks(cls) -> str | None:
        return lacks_mount()

    def prepare(self, scene: Scene) -> None:
        self._slot = self.rng.choice(scene.crew.slots)
        self._disk = Tmpfs(scene.directory / self._slot.name)
        self._disk.mount(256)

    def begin(self, scene: Scene) -> str:
        taken = self._disk.fill()
        return f"{self._slot.name}, {taken >> 20} MiB taken"

    def end(self, scene: Scene) -> None:
        self._disk.free()

    def clean(self, scene: Scene) -> None:
        self._slot.wanted = False
        self._slot.end()
        self._disk.remove()


class StateFault(Fault):
    """A worker is killed, something happens to its directory, and it is started again."""

    longest_s = 1.0

    def begin(self, scene: Scene) -> str:
        slot = self._slot = self.some(scene)
        slot.wanted = False
        slot.end(signal.SIGKILL)
        return f"{slot.name}: {self.harm(scene, slot, scene.directory / slot.name)}"

    def end(self, scene: Scene) -> None:
        self._slot.wanted = True

    def harm(self, scene: Scene, slot: Slot, directory: Path) -> str:
        """Do it; says what."""
        raise NotImplementedError


class StateDeleted(StateFault):
    """The data directory is gone: all of it comes back from Kafka."""

    name = "state_deleted"

    def harm(self, scene: Scene, slot: Slot, directory: Path) -> str:
        clear(directory)
        return "directory deleted"


class StateOlder(StateFault):
    """The directory is that of some seconds ago, as from a backup."""

    name = "state_older"
    shortest_s = 4.0
    longest_s = 6.0

    def begin(self, scene: Scene) -> str:
        slot = self.some(scene)
        directory, backup = scene.directory / slot.name, scene.directory / f"{slot.name}.backup"
        # of a stopped worker: a running one changes files while they are copied
        slot.wanted = False
        slot.end(signal.SIGKILL)
        shutil.rmtree(backup, ignore_errors=True)
        if directory.exists():
            shutil.copytree(directory, backup, ignore=shutil.ignore_patterns(_BALLAST))
        slot.wanted = True
        self._backup = backup
        self._slot = slot
        return f"{slot.name}: copied"

    def end(self, scene: Scene) -> None:
        self._slot.wanted = False
        self._slot.end(signal.SIGKILL)
        directory = scene.directory / self._slot.name
        clear(directory)
        if self._backup.exists():
            shutil.copytree(self._backup, directory, dirs_exist_ok=True)
        self._slot.wanted = True


class StateDamaged(StateFault):
    """Files of the tables are cut short, overwritten, or missing."""

    name = "state_damaged"
    ends_workers = True

    def harm(self, scene: Scene, slot: Slot, directory: Path) -> str:
        files = sorted(path for path in _files(directory) if path.stat().st_size)
        harmed = []
        for path in self.rng.sample(files, min(3, len(files))):
            how = self.rng.choice(("cut", "overwritten", "missing"))
            size = path.stat().st_size
            if how == "missing":
                path.unlink()
            elif how == "cut":
                os.truncate(path, size // 2)
            else:
                with path.open("r+b") as out:
                    out.seek(self.rng.randrange(size))
                    out.write(self.rng.randbytes(16))
            harmed.append(f"{path.parent.name}/{path.name} {how}")
        return ", ".join(harmed) or "nothing there"


class StateSwapped(StateFault):
    """Two workers start with each other's directories, as after a mix-up of volumes."""

    name = "state_swapped"
    thing = "directory"
    needs = frozenset({"workers"})

    def begin(self, scene: Scene) -> str:
        one, other = self._slots = scene.crew.slots[:2]
        for slot in self._slots:
            slot.wanted = False
            slot.end(signal.SIGKILL)
        first, second = (scene.directory / slot.name for slot in self._slots)
        aside = scene.directory / "aside"
        for source, target in ((first, aside), (second, first), (aside, second)):
            if source.exists():
                source.rename(target)
        return f"{one.name} and {other.name}"

    def end(self, scene: Scene) -> None:
        for slot in self._slots:
            slot.wanted = True


class LyingDisk(Fault):
    """A disk that gives back other values than were written: noticed, and not passed on."""

    name = "disk_lies"
    drawn = False
    arguments: ClassVar[tuple[str, ...]] = ()

    def prepare(self, scene: Scene) -> None:
        for slot in scene.crew.slots:
            slot.program = ("tests.chaos.faults.false_disk", *self.arguments)

    def begin(self, scene: Scene) -> str:
        return "all workers, from the beginning"


class CuttingDisk(LyingDisk):
    """A disk that gives back half of what was written: the worker ends, and asks for another."""

    name = "disk_cuts"
    ends_workers = True
    arguments = ("cut",)


def clear(directory: Path) -> None:
    """Empty a directory; it may be a mount point itself."""
    for path in directory.iterdir() if directory.exists() else ():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in directory.rglob("*") if path.is_file())
