"""A page of many series reads no further than it goes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from barstream.model.bar_request import BarRequest
from barstream.model.period import MINUTE
from barstream.serve.query import FoundBars, read_bars, read_live
from tests.serve.memory_reads import MemoryReads, make_bar

HOUR_US = 3_600_000_000
NAMES = [f"S{number}" for number in range(9)]


@dataclass
class SeenReads(MemoryReads):
    """Remembers of which series it was asked."""

    asked: list[str] = field(default_factory=list)

    def bars(self, broker: str, symbol: str, *rest: Any, **more: Any) -> Any:
        self.asked.append(symbol)
        return super().bars(broker, symbol, *rest, **more)

    def live(self, broker: str, symbol: str, *rest: Any) -> Any:
        self.asked.append(symbol)
        return super().live(broker, symbol, *rest)


@pytest.mark.parametrize(("final", "read"), [(True, read_bars), (False, read_live)])
def test_no_series_is_read_behind_the_one_that_fills_the_page(final: bool, read: Any) -> None:
    reads = SeenReads()
    reads.add(*(make_bar(HOUR_US, symbol=name, final=final) for name in NAMES))
    found: FoundBars = asyncio.run(read(reads, BarRequest(MINUTE, limit=2), {0}))
    assert [bar.symbol for bar in found.bars] == ["S0", "S1"]
    assert found.left_off is not None
    assert (found.left_off.symbol, sorted(set(reads.asked))) == ("S2", ["S0", "S1", "S2"])
