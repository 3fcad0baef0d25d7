"""Who sends heartbeats: the worker that holds partition 0 of ``hb_1m``.

The flag follows the assignment of the application's own consumer group and nothing else:
``set`` after an assignment that contains the partition is complete, ``clear`` first thing
on revoke, rebalance or stop.  Two leaders for an instant are harmless, the broker fences
the older one; such a leader steps down by itself and may come back only while the
assignment still says so (a worker that was frozen could have fenced the rightful one).
"""

from __future__ import annotations

from collections.abc import Callable

Listener = Callable[["LeadershipFlag"], None]


class LeadershipFlag:
    """On while this worker may send heartbeats; changed and read in one event loop."""

    def __init__(self) -> None:
        self._held = False
        self._deposed = False
        self._listeners: list[Listener] = []

    @property
    def on(self) -> bool:
        """Whether this worker may send."""
        return self._held and not self._deposed

    @property
    def held(self) -> bool:
        """Whether the assignment says so, even if the broker fenced us since."""
        return self._held

    def set(self) -> None:
        """An assignment that contains the partition is complete."""
        self._change(held=True, deposed=False)

    def clear(self) -> None:
        """Revoke, rebalance or stop has begun: nothing is sent from here on."""
        self._change(held=False, deposed=False)

    def depose(self) -> None:
        """The broker fenced us: another worker sends."""
        self._change(held=self._held, deposed=True)

    def reclaim(self) -> bool:
        """Come back after :meth:`depose` if the assignment is still ours; says whether it is."""
        if self._held:
            self._change(held=True, deposed=False)
        return self._held

    def listen(self, listener: Listener) -> None:
        """Call ``listener(flag)``, synchronously, on every change."""
        self._listeners.append(listener)

    def _change(self, *, held: bool, deposed: bool) -> None:
        before = self.on
        self._held, self._deposed = held, deposed
        if self.on != before:
            for listener in tuple(self._listeners):
                listener(self)
