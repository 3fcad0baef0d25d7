"""One resolver for the names of topics.

Generated names are ``{base}_{n}{unit}_{live|final}`` in lower case.  The unit of months is
``mo``, never ``M``: some systems fold case, and ``5M`` beside ``5m`` would be one topic there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, Literal

#: The longest topic name Kafka takes.
MAX_LENGTH: Final = 249
UNITS: Final = ("m", "h", "d", "wk", "mo")
_HASH_DIGITS: Final = 10

Kind = Literal["live", "final"]


def timeframe(count: int, unit: str) -> str:
    """``5m``, ``1h``, ``1mo``.

    Raises:
        ValueError: the count is not positive, or the unit is none of `UNITS`.
    """
    if unit not in UNITS:
        hint = "; months are mo" if unit == "M" else ""
        raise ValueError(f"a unit must be one of {' '.join(UNITS)}, found {unit!r}{hint}")
    if count < 1:
        raise ValueError(f"a period must be at least 1{unit}, found {count}{unit}")
    return f"{count}{unit}"


def bar_topic(base: str, count: int, unit: str, kind: Kind) -> str:
    """Name of a topic of bars: ``rate_1m_final``; over-long bases are shortened with a hash."""
    return shorten(base.lower(), tail=f"_{timeframe(count, unit)}_{kind}")


def shorten(name: str, tail: str = "") -> str:
    """``name + tail``, with the middle replaced by a hash when Kafka would not take it.

    The hash is of the whole name, so two long names that begin alike stay two, and the same
    name is shortened to the same in every process.  The tail stays readable.

    Raises:
        ValueError: the tail leaves no room.
    """
    whole = name + tail
    if len(whole) <= MAX_LENGTH:
        return whole
    room = MAX_LENGTH - len(tail) - _HASH_DIGITS - 1
    if room < 1:
        raise ValueError(f"a name ending of {len(tail)} characters leaves no room for a name")
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{name[:room]}_{digest}{tail}"


def resolve(
    logical: str,
    *,
    configured: Mapping[str, str],
    model: str | None = None,
    default: str | None = None,
) -> str:
    """The name in force: what configuration says, else the model, else the default.

    Args:
        logical: what the topic is for; the last resort as a name.
        configured: logical name to topic name; taken as written, for the topic may exist.
        model: the name the pipeline's model declares.
        default: the name without either.
    """
    if logical in configured:
        return configured[logical]
    return shorten((model or default or logical).lower())
