"""Workers that are killed, stopped, frozen, or replaced by those of another version."""

from __future__ import annotations

import signal
import time

from tests.chaos.faults.base import Fault, Scene
from tests.chaos.runs.crew import Slot
from tests.pipeline import until


class Kill(Fault):
    """``kill -9`` of a worker, which comes back after a while."""

    name = "kill"

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self._slots: list[Slot] = []

    def victims(self, scene: Scene) -> list[Slot]:
        """Whom it takes."""
        return [self.some(scene)]

    def begin(self, scene: Scene) -> str:
        self._slots = self.victims(scene)
        for slot in self._slots:
            slot.wanted = False
            slot.doomed = True
            slot.send(signal.SIGKILL)
        return " ".join(slot.name for slot in self._slots)

    def end(self, scene: Scene) -> None:
        for slot in self._slots:
            slot.wanted = True


class KillLeader(Kill):
    """``kill -9`` of the worker that sends the heartbeats."""

    name = "kill_leader"

    def victims(self, scene: Scene) -> list[Slot]:
        return [scene.crew.leader() or self.some(scene)]


class KillAll(Kill):
    """``kill -9`` of all workers at once."""

    name = "kill_all"

    def victims(self, scene: Scene) -> list[Slot]:
        return list(scene.crew.slots)


class Stop(Kill):
    """SIGTERM: the worker ends in good order, within its time."""

    name = "stop"

    def begin(self, scene: Scene) -> str:
        slot = self.some(scene)
        self._slots = [slot]
        slot.wanted = False
        worker = slot.worker
        began = time.monotonic()
        slot.end(signal.SIGTERM)
        code = worker.process.returncode if worker is not None else 0
        took = time.monotonic() - began
        # by the signal itself: before it was ready to hear it
        if code not in (0, -signal.SIGTERM):
            scene.notes.append(f"{slot.name} ended {code} after SIGTERM, in {took:.1f} s")
        return f"{slot.name}, in {took:.1f} s"


class Freeze(Fault):
    """SIGSTOP for longer than the session timeout, and back: a zombie that believes it owns."""

    name = "freeze"
    shortest_s = 6.0
    longest_s = 9.0

    def begin(self, scene: Scene) -> str:
        slot = self.some(scene)
        self._slot, self._worker = slot, slot.worker
        slot.send(signal.SIGSTOP)
        return slot.name

    def end(self, scene: Scene) -> None:
        # its slot may have another process by now
        if self._worker is not None and self._worker.process.poll() is None:
            self._worker.signal(signal.SIGCONT)


class FreezeLeader(Freeze):
    """The same of the worker that sends the heartbeats."""

    name = "freeze_leader"

    def some(self, scene: Scene) -> Slot:
        return scene.crew.leader() or super().some(scene)


class FreezeLeaderAtMinute(FreezeLeader):
    """The leader sleeps over the end of a minute: it wakes to send what another has sent."""

    name = "freeze_leader_at_minute"
    drawn = False
    shortest_s = 12.0
    longest_s = 12.0
    needs = frozenset({"live", "workers"})

    def begin(self, scene: Scene) -> str:
        until(lambda: time.time() % 60 > 57, 65, "a minute is about to end")
        return super().begin(scene)


class WorkersUpgraded(Fault):
    """Workers of an older version are replaced one by one by a newer, and that by today's."""

    name = "workers_upgraded"
    family = "upgrade"
    thing = "program"
    needs = frozenset({"workers"})
    shortest_s = 3.0
    longest_s = 6.0

    def prepare(self, scene: Scene) -> None:
        self._today = scene.crew.slots[0].program
        for slot in scene.crew.slots:
            slot.program = _version("older")

    def begin(self, scene: Scene) -> str:
        return "older to newer: " + self._replace(scene, _version("newer"))

    def end(self, scene: Scene) -> None:
        scene.notes.append("newer to today's: " + self._replace(scene, self._today))

    def _replace(self, scene: Scene, program: tuple[str, ...]) -> str:
        slots = self.rng.sample(scene.crew.slots, len(scene.crew.slots))
        for slot in slots:
            slot.program = program
            slot.end(self.rng.choice((signal.SIGTERM, signal.SIGKILL)))
            time.sleep(self.rng.uniform(0, 3))
        return " ".join(slot.name for slot in slots)


def _version(which: str) -> tuple[str, ...]:
    return ("tests.upgrade.other_version", which, "worker")


class Storm(Fault):
    """Workers join and leave faster than the group settles."""

    name = "storm"
    shortest_s = 5.0
    longest_s = 6.0

    def begin(self, scene: Scene) -> str:
        self._comers = [scene.crew.add() for _ in range(2)]
        for _ in range(3):
            time.sleep(self.rng.uniform(0.8, 2.0))
            slot = self.rng.choice(self._comers)
            slot.end(self.rng.choice((signal.SIGKILL, signal.SIGTERM)))
        return " ".join(slot.name for slot in self._comers)

    def end(self, scene: Scene) -> None:
        for slot in self._comers:
            slot.wanted = False
            slot.end(signal.SIGTERM)
