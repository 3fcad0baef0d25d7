"""Who looks on while ticks are sent."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Is told how a feed goes on."""

    def begin(self, done: int, total: int | None) -> None:
        """Ticks sent by an earlier run, and ticks to be sent in all; None: no end."""

    def advance(self, ticks: int) -> None:
        """So many more are in Kafka."""

    def say(self, sentence: str) -> None:
        """Something the user should know."""


class Silent:
    """Looks away."""

    def begin(self, done: int, total: int | None) -> None:
        """Nothing."""

    def advance(self, ticks: int) -> None:
        """Nothing."""

    def say(self, sentence: str) -> None:
        """Nothing."""
