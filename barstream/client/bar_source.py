"""Where the bars of this process come from: set once, when a worker starts."""

from __future__ import annotations

from barstream.errors import BarstreamError
from barstream.model.bar_request import BarSource

_bound: BarSource | None = None


class NotBoundError(BarstreamError):
    """There is no worker in this process: read with ``TimeBucket.connect(url)`` instead."""


def bind(source: BarSource | None) -> None:
    """Read from ``source`` from now on, on the event loop it belongs to; None: from nowhere."""
    global _bound  # noqa: PLW0603  (one worker a process, and agents are handed no context)
    _bound = source


def bound_source() -> BarSource:
    """The bars of the worker that runs in this process.

    Raises:
        NotBoundError: none runs.
    """
    if _bound is None:
        raise NotBoundError(
            "TimeBucket.get reads inside a running worker, and there is none in this process; "
            "read from one over HTTP: TimeBucket.connect('http://127.0.0.1:6066').get(model, "
            "period)"
        )
    return _bound
