"""Where the errors of a read were imported from up to 0.1; they are in `barstream` now."""

from __future__ import annotations

from barstream.model.bar_request import BarsUnavailableError, UnknownPeriodError, UnknownSeriesError

__all__ = ["BarsUnavailableError", "UnknownPeriodError", "UnknownSeriesError"]
