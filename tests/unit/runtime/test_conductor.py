"""Records of a partition that was given up while they were on their way."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import faust
from faust.types import TP

from barstream.runtime.conductor import Conductor
from barstream.runtime.driver import Transport

HELD, GIVEN_UP = TP("ticks", 0), TP("app-series", 1)


def message(tp: TP) -> Any:
    return SimpleNamespace(tp=tp)


def test_a_record_of_a_partition_that_was_given_up_does_not_end_the_worker() -> None:
    """Seen in a fault run: a worker that joined and lost a partition ended with a KeyError."""
    came: list[Any] = []

    async def go() -> None:
        conductor = Conductor(faust.App("t", broker="memory://"))

        async def keep(record: Any) -> None:
            came.append(record.tp)

        conductor._tp_to_callback.update({HELD: keep})
        await conductor.on_message(message(HELD))
        await conductor.on_message(message(GIVEN_UP))
        # as Faust does in every rebalance
        conductor._tp_to_callback.clear()
        await conductor.on_message(message(HELD))

    asyncio.run(go())
    assert came == [HELD]


def test_the_transport_uses_it() -> None:
    assert Transport.Conductor is Conductor
