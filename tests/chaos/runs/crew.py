"""The workers of a run, each in a slot that starts it again when it ends, as a supervisor does."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.chaos.runs.scrape import Numbers, scrape
from tests.pipeline import Pipeline, WorkerProcess

_RESTART_AFTER_S: Final = 1.0
_LOOK_S: Final = 0.1
#: Workers that have not settled after so long say in their logs where they stand.
_SLOW_S: Final = 25.0
#: The command that a worker names when its tables cannot be opened.
_MOVE: Final = re.compile(r": mv (\S+) (\S+)$")
_ALL: Final = "move its data directory away"
#: What the worker says when it ends on purpose.
_LAST_WORDS: Final = "worker stopped: "


@dataclass
class Slot:
    """One place for a worker: its directory, its environment, and who is in it now.

    Attributes:
        name: of its data directory.
        prefix: what its command is run by, such as ``ip netns exec NAME``.
        extra_env: of its process, beside that of the pipeline.
        host: where its web views are.
        program: the module that is run, and its arguments.
        wanted: whether it is to be started (again).
        doomed: somebody of ours is ending the process, so that its end says nothing.
        ended: code and last words each time it ended by itself.
        starts: how often it was started.
    """

    name: str
    prefix: tuple[str, ...] = ()
    extra_env: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    program: tuple[str, ...] = ("barstream", "worker")
    wanted: bool = True
    doomed: bool = False
    worker: WorkerProcess | None = None
    ended: list[tuple[int, str]] = field(default_factory=list)
    starts: int = 0
    _next_start_s: float = 0.0

    @property
    def running(self) -> bool:
        """Whether its process exists."""
        worker = self.worker
        return worker is not None and worker.process.poll() is None

    def send(self, number: int) -> None:
        """Send a signal to its process, if there is one."""
        worker = self.worker
        if worker is not None and worker.process.poll() is None:
            worker.signal(number)

    def end(self, number: int = signal.SIGKILL) -> None:
        """End its process by a signal and wait until it is gone."""
        worker = self.worker  # the thread that tends it takes it out when it has ended
        if worker is None:
            return
        self.doomed = True
        self.send(number)
        worker.process.wait(40)

    def numbers(self) -> Numbers:
        """Its metrics now; none while it does not answer."""
        worker = self.worker
        return scrape(worker) if worker is not None and self.running else Numbers()


class Crew:
    """All slots of a run, tended by a thread of their own.

    Attributes:
        at_rest: nobody is started meanwhile, whoever wants it.
    """

    def __init__(self, made: Pipeline, count: int) -> None:
        self.at_rest = False
        self.slots = [Slot(f"w{number}") for number in range(count)]
        self._made = made
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._tend, name="crew", daemon=True)
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Start every worker that is wanted, and again from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Start nothing any more, and end what runs."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(30)
        for slot in self.slots:
            slot.send(signal.SIGCONT)
            slot.end()

    def add(self) -> Slot:
        """One more slot; its worker is started at once."""
        slot = Slot(f"w{len(self.slots)}")
        self.slots.append(slot)
        return slot

    @property
    def running(self) -> list[Slot]:
        """Slots with a process, frozen or not."""
        return [slot for slot in self.slots if slot.running]

    def leader(self) -> Slot | None:
        """Who says that it leads the heartbeats; None while nobody does."""
        return next((s for s in self.running if s.numbers().get("barstream_leader")), None)

    def settled(self) -> bool:
        """All that are wanted answer, and together they have applied everything there is."""
        if self._failure is not None:
            raise self._failure
        found = [slot.numbers() for slot in self.slots if slot.wanted]
        partitions = self._made.settings.topics.partitions
        return (
            all(numbers.get("barstream_ready") for numbers in found)
            and sum(numbers.get("barstream_partitions") for numbers in found) == partitions
            and sum(numbers.get("barstream_lag_records") for numbers in found) == 0
            and sum(numbers.get("barstream_heartbeats_waiting") for numbers in found) == 0
        )

    def settle(self, timeout_s: float) -> float:
        """Wait until they have settled, a second longer for each partition; the seconds it took."""
        timeout_s += self._made.settings.topics.partitions
        began = time.monotonic()
        asked = False
        # once a second: a worker's metrics cost it more than what it has to recover
        while not self.settled():
            took = time.monotonic() - began
            if took > timeout_s:
                raise AssertionError(f"not all ready and caught up within {timeout_s:g} s")
            if took > _SLOW_S and not asked:
                # the framework's answer to this signal: the stacks of all threads and tasks
                asked = True
                for slot in self.running:
                    if slot.numbers().samples:  # so far that it listens to signals
                        slot.send(signal.SIGUSR1)
            time.sleep(1)
        return time.monotonic() - began

    def _tend(self) -> None:
        try:
            while not self._stopping.wait(_LOOK_S):
                for slot in self.slots:
                    self._look(slot)
        except BaseException as error:  # noqa: BLE001  raised again where it is waited for
            self._failure = error

    def _look(self, slot: Slot) -> None:
        worker = slot.worker
        if worker is not None and (code := worker.process.poll()) is not None:
            if not slot.doomed:
                words = last_words(worker)
                if (code, words) in slot.ended:
                    follow(words, self._made.directory / slot.name)
                slot.ended.append((code, words))
            slot.worker, slot.doomed = None, False
            slot._next_start_s = time.monotonic() + (0 if code <= 0 else _RESTART_AFTER_S)
        may_start = slot.wanted and not self.at_rest
        if slot.worker is None and may_start and time.monotonic() >= slot._next_start_s:
            slot.starts += 1
            slot.worker = self._made.worker(
                directory=slot.name,
                wait=False,
                prefix=slot.prefix,
                extra_env=slot.extra_env,
                host=slot.host,
                program=slot.program,
            )


def follow(words: str, directory: Path) -> None:
    """Do what the last words tell an operator to do, when they are the same once more."""
    if told := _MOVE.search(words):
        source, target = map(Path, told.groups())
        if source.exists():
            source.rename(target)
    elif _ALL in words and directory.exists():
        directory.rename(directory.with_name(f"{directory.name}.away-{time.time_ns()}"))


def last_words(worker: WorkerProcess) -> str:
    """Why a worker ended, as its log has it."""
    lines = [line for line in worker.log.read_text(errors="replace").splitlines() if line.strip()]
    said = [line[line.index(_LAST_WORDS) :] for line in lines if _LAST_WORDS in line]
    return said[-1] if said else (lines[-1] if lines else "nothing was said")
