"""What keeps a replay from being made, compared or switched over to."""

from __future__ import annotations

from barstream.errors import BarstreamError


class ShadowRefused(BarstreamError):
    """The shadow topics cannot take a replay: they hold one already, or are of another shape.

    ``--again`` deletes and makes them anew; another ``--suffix`` leaves them alone.
    """


class ReplayIncomplete(BarstreamError):
    """The shadow topics hold no complete replay: none was made, or it was ended on the way.

    Run ``barstream replay --suffix NAME --again``.
    """


class SwitchRefused(BarstreamError):
    """Switching over now could be undone by a running worker; nothing was written.

    Stop all workers of the application, wait until the group is empty, and switch again.
    """
