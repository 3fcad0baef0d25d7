"""Chunks gathered to blocks of ticks, one of them cut at the position."""

from __future__ import annotations

from typing import Final

import numpy as np

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickColumns
from barstream.codecs.topics.withdrawal import NO_TICKS, Withdrawn, WithdrawnTicks
from barstream.verify.scan import Scan
from barstream.verify.tick_class import Block, Judge

#: Ticks are compared so many at a time: few calls, and memory bounded.
BLOCK: Final = 200_000


class Blocks:
    """Gathers chunks for a scan.

    Args:
        scan: takes the blocks.
        judge: says what a tick is by itself.
        withdrawn: ticks that no bar may have.
        position: ticks below it were applied.
        begin: the first offset that will come.
        block: so many records are compared at a time.
    """

    def __init__(
        self,
        scan: Scan,
        judge: Judge,
        withdrawn: Withdrawn,
        position: int,
        begin: int,
        block: int = BLOCK,
    ) -> None:
        self._scan = scan
        self._judge = judge
        self._withdrawn = withdrawn
        self._gone = NO_TICKS
        self._position = position
        self._begin = begin
        self._parts: list[Block] = []
        self._refused: dict[int, str] = {}
        self._count = 0
        self._passed = False
        self._block = block

    def add(self, chunk: RecordChunk, columns: TickColumns) -> None:
        """Take a decoded chunk."""
        if not chunk.append_time:
            self._scan.stamped_by_producers(chunk.start, chunk.next_offset)
        columns, gone = self._withdrawn.split(columns, chunk.offsets)
        if len(gone.offset):
            self._gone = WithdrawnTicks(*map(np.concatenate, zip(self._gone, gone, strict=True)))
            self._count += len(gone.offset)
        block = self._judge.judge(columns, chunk.offsets)
        refused = {int(chunk.offsets[at]): str(reason) for at, reason, _ in columns.rejected}
        cut = self._position
        if not self._passed and chunk.next_offset >= cut:
            below = int(np.searchsorted(block.offset, cut))
            first = {offset: why for offset, why in refused.items() if offset < cut}
            self._put(block.take(slice(None, below)), first)
            self._pass(max(cut, self._begin))
            block = block.take(slice(below, None))
            refused = {offset: why for offset, why in refused.items() if offset >= cut}
        self._put(block, refused)
        if self._count >= self._block:
            self._flush(chunk.next_offset)

    def _put(self, block: Block, refused: dict[int, str]) -> None:
        self._parts.append(block)
        self._refused.update(refused)
        self._count += len(block) + len(refused)

    def _pass(self, position: int) -> None:
        self._flush(position)
        self._scan.position_passed()
        self._passed = True

    def end(self, end: int) -> None:
        """There is no more."""
        self._flush(end)
        if not self._passed:
            self._scan.position_passed()

    def _flush(self, end: int) -> None:
        if self._parts:
            cut = int(np.searchsorted(self._gone.offset, end))
            gone = WithdrawnTicks(*(each[:cut] for each in self._gone))
            self._gone = WithdrawnTicks(*(each[cut:] for each in self._gone))
            block = Block.joined(self._parts)
            self._scan.take(block, self._refused, gone, self._begin, end)
        self._begin, self._parts, self._refused, self._count = end, [], {}, 0
