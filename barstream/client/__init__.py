"""Bars in Python, by range: inside a worker from the stores, elsewhere from a worker over HTTP."""

from __future__ import annotations

from barstream.client.bar_source import NotBoundError, bind
from barstream.client.time_bucket import Bars, Connection, TimeBucket
from barstream.client.wait import BucketTimeoutError

__all__ = ["Bars", "BucketTimeoutError", "Connection", "NotBoundError", "TimeBucket", "bind"]
