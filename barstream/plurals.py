"""Numbers with the noun they count."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """``1 message``, ``2,850 messages``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
