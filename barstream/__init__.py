"""Gap-free market-data bars from a Kafka topic of ticks.

What stands in ``__all__`` is public, and so are `barstream.config` and `barstream.worker`, as far
as ``docs/timebucket.md`` shows them.  All else may change with any release.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from barstream.client import Bars as Bars
    from barstream.client import BucketTimeoutError as BucketTimeoutError
    from barstream.client import NotBoundError as NotBoundError
    from barstream.client import TimeBucket as TimeBucket
    from barstream.errors import BarstreamError as BarstreamError
    from barstream.errors import MissingPieceError as MissingPieceError
    from barstream.model.bar import Bar as Bar
    from barstream.model.bar_request import BarsUnavailableError as BarsUnavailableError
    from barstream.model.bar_request import UnknownPeriodError as UnknownPeriodError
    from barstream.model.bar_request import UnknownSeriesError as UnknownSeriesError
    from barstream.model.period import Period as Period
    from barstream.pipeline import DEFAULT as DEFAULT
    from barstream.pipeline import MarketSchedule as MarketSchedule
    from barstream.pipeline import Model as Model
    from barstream.pipeline import Query as Query
    from barstream.pipeline import Rate as Rate
    from barstream.pipeline import Tick as Tick

#: Imported when they are asked for: a command that reads no bars does not load an HTTP client.
_MODULES = {
    "DEFAULT": "barstream.pipeline",
    "Bar": "barstream.model.bar",
    "Bars": "barstream.client",
    "BarsUnavailableError": "barstream.model.bar_request",
    "BarstreamError": "barstream.errors",
    "BucketTimeoutError": "barstream.client",
    "MarketSchedule": "barstream.pipeline",
    "MissingPieceError": "barstream.errors",
    "Model": "barstream.pipeline",
    "NotBoundError": "barstream.client",
    "Period": "barstream.model.period",
    "Query": "barstream.pipeline",
    "Rate": "barstream.pipeline",
    "Tick": "barstream.pipeline",
    "TimeBucket": "barstream.client",
    "UnknownPeriodError": "barstream.model.bar_request",
    "UnknownSeriesError": "barstream.model.bar_request",
}

__all__ = [
    "DEFAULT",
    "Bar",
    "Bars",
    "BarsUnavailableError",
    "BarstreamError",
    "BucketTimeoutError",
    "MarketSchedule",
    "MissingPieceError",
    "Model",
    "NotBoundError",
    "Period",
    "Query",
    "Rate",
    "Tick",
    "TimeBucket",
    "UnknownPeriodError",
    "UnknownSeriesError",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
