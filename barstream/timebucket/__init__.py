"""Bars in Python, by range: inside a worker from the stores, elsewhere from a worker over HTTP."""

from __future__ import annotations

from barstream.timebucket.binding import NotBoundError, bind
from barstream.timebucket.bucket import Bars, Connection, TimeBucket
from barstream.timebucket.waiting import BucketTimeoutError

__all__ = ["Bars", "BucketTimeoutError", "Connection", "NotBoundError", "TimeBucket", "bind"]
