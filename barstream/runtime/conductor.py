"""The conductor: Faust's, but a record that nobody waits for any more is dropped.

A record may have been fetched under an assignment and arrive after the next one has begun.  Faust
asks a plain dict for the callback of its partition, and the `KeyError` ends the worker.
"""

from __future__ import annotations

from typing import Any

from faust.transport import conductor
from faust.types import TP


class Callbacks(dict[TP, Any]):
    """By partition; those of partitions that were given up do nothing."""

    def __missing__(self, tp: TP) -> Any:
        return _drop


async def _drop(_message: Any) -> None:
    """Not acknowledged: whoever holds the partition now reads it by its own position."""


class Conductor(conductor.Conductor):
    """Hands records to the agents and tables that wait for them."""

    def _compile_message_handler(self) -> Any:
        # before the handler is made, which keeps the bound method of this very dict
        self._tp_to_callback = Callbacks()
        return super()._compile_message_handler()
