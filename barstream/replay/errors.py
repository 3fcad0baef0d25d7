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
    """Switching over would leave bars wrong, or bring withdrawn ones back; nothing was written.

    Replay again, as the message says, and switch over to that.
    """
