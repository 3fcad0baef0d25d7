"""Why a load is refused, or ends early."""

from __future__ import annotations

from barstream.errors import BarstreamError


class AlreadyLoadedError(BarstreamError):
    """This very file was loaded to its end before; ``--again`` loads it once more."""


class AlreadyClosedError(BarstreamError):
    """The file begins in minutes that are closed; ``--again`` sends it all the same."""


class UnsortedError(BarstreamError):
    """A series is out of order and ``--refuse-unsorted`` was given: sort the file, or drop it."""


class LoadInterruptedError(BarstreamError):
    """The load ended before its end: run the same command again, it goes on where it was."""


class NoSessionError(BarstreamError):
    """A series has no session when its ticks were: load the sessions first."""
