"""Where bars in Python were imported from up to 0.1; the names are those of `barstream` now."""

from __future__ import annotations

from barstream.client import Bars, BucketTimeoutError, Connection, NotBoundError, TimeBucket, bind

__all__ = ["Bars", "BucketTimeoutError", "Connection", "NotBoundError", "TimeBucket", "bind"]
