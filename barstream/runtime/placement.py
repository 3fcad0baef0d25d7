"""Which worker holds which partition, and which keep a warm copy of it.

Every partition has one active holder, loads differ by one at most, and nobody gives up more than
that takes.  What must move goes to a worker that already has the rows: its standby before anyone
else.  A standby is never where its partition is active.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(slots=True)
class HeldTicks:
    """Partitions of one worker."""

    actives: set[int] = field(default_factory=set)
    standbys: set[int] = field(default_factory=set)


def place(before: Mapping[str, HeldTicks], partitions: int, replicas: int) -> dict[str, HeldTicks]:
    """Share partitions 0 to ``partitions`` among workers.

    Args:
        before: what each worker that is there now held last, nothing for a new one.  Two may
            claim a partition: one of them was away while the other took it over.
        partitions: how many there are.
        replicas: standbys of each partition; fewer when there are fewer other workers.

    Returns:
        What each of the workers of ``before`` holds from now on; none when there is no worker.
    """
    held = {worker: HeldTicks() for worker in sorted(before)}
    if held:
        _place_actives(held, before, partitions)
        _place_standbys(held, before, partitions, min(replicas, len(held) - 1))
    return held


def _place_actives(
    held: dict[str, HeldTicks], before: Mapping[str, HeldTicks], partitions: int
) -> None:
    least, above = divmod(partitions, len(held))

    def has_room(worker: str) -> bool:
        count = len(held[worker].actives)
        fuller = sum(len(other.actives) > least for other in held.values())
        return count < least or (count == least and fuller < above)

    warm = _warm(before)
    free = set(range(partitions))
    for worker in sorted(held, key=lambda each: (-len(before[each].actives), each)):
        # given up first: what another worker can take over warm
        for partition in sorted(
            before[worker].actives & free, key=lambda each: (len(warm.get(each, ())), each)
        ):
            if has_room(worker):
                held[worker].actives.add(partition)
                free.discard(partition)
    for is_wanted in (lambda worker, partition: partition in before[worker].standbys, _anyone):
        for partition in sorted(free):
            taker = _least(
                (each for each in held if has_room(each) and is_wanted(each, partition)),
                lambda each: len(held[each].actives),
            )
            if taker is not None:
                held[taker].actives.add(partition)
                free.discard(partition)


def _place_standbys(
    held: dict[str, HeldTicks], before: Mapping[str, HeldTicks], partitions: int, replicas: int
) -> None:
    most = -(-partitions * replicas // len(held))
    for partition in range(partitions):
        able = [worker for worker in held if partition not in held[worker].actives]

        def cost(worker: str, partition: int = partition) -> tuple[bool, bool, int]:
            count = len(held[worker].standbys)
            last = before[worker]
            return count >= most, partition not in last.actives | last.standbys, count

        for worker in sorted(able, key=cost)[:replicas]:
            held[worker].standbys.add(partition)


def _warm(before: Mapping[str, HeldTicks]) -> dict[int, list[str]]:
    """Workers that have a copy, by partition."""
    found: dict[int, list[str]] = {}
    for worker, last in before.items():
        for partition in last.standbys:
            found.setdefault(partition, []).append(worker)
    return found


def _anyone(_worker: str, _partition: int) -> bool:
    return True


def _least(workers: Iterable[str], load: Callable[[str], int]) -> str | None:
    return min(workers, key=lambda each: (load(each), each), default=None)
