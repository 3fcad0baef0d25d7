"""Why a tick was refused."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The header ``reason`` of a record in ``ticks_rejected``."""

    TOO_LARGE = "too_large"
    UNDECODABLE = "undecodable"
    INVALID = "invalid"
    FUTURE = "future"
    UNSCHEDULED = "unscheduled"
    OFF_SESSION = "off_session"
    LATE = "late"
    PARTITION = "partition"
    TOO_MANY_SERIES = "too_many_series"
