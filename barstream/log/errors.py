"""What keeps history from being read."""

from __future__ import annotations

from barstream.errors import BarstreamError


class HistoryGone(BarstreamError):
    """Records that were to be read are no longer there: retention deleted them meanwhile.

    Ask again; the range is then cut to what the topic still holds.
    """


class HistoryUnreadable(BarstreamError):
    """A topic of ours holds a record that is none of its schema.

    Something else writes to the topic, or it was written by a newer version: the message names
    the place.
    """
