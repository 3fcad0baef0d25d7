"""Gap-free market-data bars from a Kafka topic of ticks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from barstream.client import TimeBucket as TimeBucket
    from barstream.model.bar import Bar as Bar
    from barstream.model.period import Period as Period
    from barstream.pipeline import Rate as Rate

__all__ = ["Bar", "Period", "Rate", "TimeBucket"]

#: Imported when they are asked for: a command that reads no bars does not load an HTTP client.
_MODULES = {
    "Bar": "barstream.model.bar",
    "Period": "barstream.model.period",
    "Rate": "barstream.pipeline",
    "TimeBucket": "barstream.client",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
