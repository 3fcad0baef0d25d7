"""What every worker of an application must be told alike, as text that can be compared.

Which of two workers holds a partition must change nothing of what is written there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import orjson

from barstream.config.settings import Settings

#: Compared whole, but for what is named below: a setting that is added belongs to them at once.
_SECTIONS: Final = ("topics", "ticks", "bars", "heartbeats")
_NOT_COMPARED: Final = frozenset(
    {
        # those who create topics go by them, and not who writes to them
        "topics.partitions",
        "topics.replication",
        "topics.ticks_retention_days",
        # an address: of one registry there may be several
        "ticks.registry_url",
    }
)
#: Of other sections.
_ALSO: Final = ("recovery.standby_replicas",)
#: Names in any order.
_UNORDERED: Final = frozenset({"bars.timeframes", "bars.live_timeframes"})
#: Longer ones are told apart by their digest: all of a group's go to each of its workers.
_MOST_CHARACTERS: Final = 100


def fingerprint(settings: Settings) -> dict[str, str]:
    """Dotted name to value, as JSON or, where that is long, a digest of it; none is a secret.

    Args:
        settings: completed by the pipeline, see `barstream.planner.Plan.settings`.
    """
    return {name: _text(name, value) for name, value in _compared(settings)}


def _compared(settings: Settings) -> Iterable[tuple[str, Any]]:
    for section in _SECTIONS:
        values = getattr(settings, section)
        for key in type(values).model_fields:
            if (name := f"{section}.{key}") not in _NOT_COMPARED:
                yield name, getattr(values, key)
    for name in _ALSO:
        section, _, key = name.partition(".")
        yield name, getattr(getattr(settings, section), key)


def _text(name: str, value: Any) -> str:
    # versions that run beside each other compare these: another spelling looks like another value
    if isinstance(value, Path):
        return _digest(value.read_bytes())  # the same schema may stand in different places
    if name in _UNORDERED:
        value = sorted(value)
    if isinstance(value, Mapping):
        value = {str(key): each for key, each in value.items()}
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return text.decode() if len(text) <= _MOST_CHARACTERS else _digest(text)


def _digest(content: bytes) -> str:
    return f"digest {blake2b(content, digest_size=8).hexdigest()}"
