"""The wall clock of one worker jumps, forwards and backwards, while its monotonic clock does not.

A small library laid over libc adds to the time of day what a file says; the worker maps the file,
so that the clock jumps while it runs.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from tests.chaos.faults.base import Fault, Scene
from tests.pipeline import until

_SOURCE = Path(__file__).with_name("shifted_clock.c")
_COMPILERS = ("cc", "gcc", "clang")


class Clock:
    """A clock that a worker reads instead of the machine's."""

    def __init__(self, directory: Path, name: str) -> None:
        self._file = directory / f"{name}.clock"
        self._file.write_bytes(bytes(8))
        library = directory / "shifted_clock.so"
        if not library.exists():
            command = [_compiler(), "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE)]
            subprocess.run([*command, "-ldl"], check=True)
        self.env = {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self._file)}

    def shift(self, by_us: int) -> None:
        """Let the clock differ by so much from now on; 0: it is right again."""
        with self._file.open("r+b") as out:
            out.write(by_us.to_bytes(8, "little", signed=True))


def _compiler() -> str:
    return next((name for name in _COMPILERS if shutil.which(name)), "")


class ClockJumps(Fault):
    """The clock of one worker is off by 2 seconds to a day, either way, and right again."""

    name = "clock_jump"
    shortest_s = 2.0
    longest_s = 5.0

    @classmethod
    def lacks(cls) -> str | None:
        return None if _compiler() else f"a C compiler ({', '.join(_COMPILERS)})"

    def prepare(self, scene: Scene) -> None:
        self._slot = self.rng.choice(scene.crew.slots)
        self._clock = Clock(scene.directory, f"{self._slot.name}-{self.name}")
        self._slot.extra_env = {**self._slot.extra_env, **self._clock.env}

    def begin(self, scene: Scene) -> str:
        by_s = self.rng.choice((-86_400, -3_600, -65, -2, 2, 65, 3_600, 86_400))
        self._clock.shift(by_s * 1_000_000)
        return f"{self._slot.name} by {by_s:+d} s"

    def end(self, scene: Scene) -> None:
        self._clock.shift(0)


class LeaderClockJumps(ClockJumps):
    """The same of whoever leads the heartbeats: every worker's clock can be shifted."""

    name = "leader_clock_jump"

    def prepare(self, scene: Scene) -> None:
        self._clocks = {}
        for slot in scene.crew.slots:
            clock = self._clocks[slot.name] = Clock(scene.directory, f"{slot.name}-{self.name}")
            slot.extra_env = {**slot.extra_env, **clock.env}

    def begin(self, scene: Scene) -> str:
        leader = scene.crew.leader()
        shifted = [leader] if leader and leader.name in self._clocks else scene.crew.slots
        self._shifted = [slot for slot in shifted if slot.name in self._clocks]
        by_s = self.rng.choice((-3_600, -65, -3, 3, 65, 3_600))
        for slot in self._shifted:
            self._clocks[slot.name].shift(by_s * 1_000_000)
        return f"{' '.join(slot.name for slot in self._shifted)} by {by_s:+d} s"

    def end(self, scene: Scene) -> None:
        for slot in self._shifted:
            self._clocks[slot.name].shift(0)


class LeaderClockWrong(LeaderClockJumps):
    """The leader's clock is off while minutes end: it sends nothing, and says so."""

    name = "leader_clock_wrong"
    drawn = False
    needs = frozenset({"live"})
    shortest_s = 25.0
    longest_s = 25.0
    shifts_s: tuple[float, ...] = (-3, 3)

    def begin(self, scene: Scene) -> str:
        by_s = self.rng.choice(self.shifts_s)
        for clock in self._clocks.values():
            clock.shift(round(by_s * 1_000_000))
        self._shifted = list(scene.crew.slots)
        return f"all workers by {by_s:+.1f} s"


class LeaderClockWrongForLong(LeaderClockWrong):
    """The same for minutes: nobody hears a heartbeat any more."""

    name = "leader_clock_wrong_long"
    shortest_s = 200.0
    longest_s = 200.0

    def prepare(self, scene: Scene) -> None:
        super().prepare(scene)
        scene.made.options["HEARTBEATS__RESUME_HOLD_S"] = "8"

    def begin(self, scene: Scene) -> str:
        until(lambda: 5 < time.time() % 60 < 25, 65, "heartbeats were sent for one minute")
        return super().begin(scene)


class LeaderClockFast(LeaderClockWrong):
    """Fast by less than what stops the leader: heartbeats that come too early are sent again."""

    name = "leader_clock_fast"
    shifts_s = (0.85,)
