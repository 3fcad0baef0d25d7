"""Rows that say what of a dropped series is withdrawn."""

from __future__ import annotations

import numpy as np
import pytest

from barstream.codecs.ticks.decoder import TickColumns
from barstream.codecs.topics.withdrawal import (
    WithdrawalRow,
    Withdrawn,
    WithdrawnEnd,
    decode_withdrawal,
    encode_withdrawal,
    is_withdrawal_key,
)

ROW = WithdrawalRow("FX", "EURUSD", 7, {0: WithdrawnEnd(5, 2), 3: WithdrawnEnd(9, 0)})


def columns(names: list[str], index: list[int] | None = None) -> TickColumns:
    """Ticks of these symbols, one after the other."""
    known = sorted(set(names))
    count = len(names)
    return TickColumns(
        np.array([known.index(name) for name in names], np.int32),
        [("FX", name) for name in known],
        np.arange(count),
        np.ones(count),
        np.ones(count),
        None if index is None else np.array(index, np.intp),
        [],
    )


def test_a_row_reads_as_it_was_written_and_sorts_before_every_series() -> None:
    assert decode_withdrawal(ROW.key, encode_withdrawal(ROW)) == ROW
    assert is_withdrawal_key(ROW.key)
    assert not is_withdrawal_key(b"FX\0EURUSD")
    assert ROW.key < b"\1"


@pytest.mark.parametrize(
    "row",
    [
        WithdrawalRow("FX", "EURUSD", -1, {}),
        WithdrawalRow("FX", "EURUSD", 7, {-1: WithdrawnEnd(1, 1)}),
        WithdrawalRow("FX", "EURUSD", 7, {0: WithdrawnEnd(-1, 1)}),
        WithdrawalRow("FX", "EURUSD", 7, {0: WithdrawnEnd(1, -1)}),
        WithdrawalRow("FX", " EURUSD", 7, {}),
    ],
)
def test_what_no_drop_writes_is_refused(row: WithdrawalRow) -> None:
    with pytest.raises(ValueError, match="no withdrawal"):
        decode_withdrawal(row.key, encode_withdrawal(row))


def test_a_row_under_another_key_is_refused() -> None:
    with pytest.raises(ValueError, match="no withdrawal"):
        decode_withdrawal(b"\0withdrawn\0FX\0USDJPY", encode_withdrawal(ROW))


def test_a_second_drop_raises_offsets_and_forgets_no_partition() -> None:
    again = WithdrawalRow("FX", "EURUSD", 8, {0: WithdrawnEnd(4, 6), 1: WithdrawnEnd(1, 1)})
    both = {0: WithdrawnEnd(5, 6), 1: WithdrawnEnd(1, 1), 3: WithdrawnEnd(9, 0)}
    assert again.joined(ROW) == WithdrawalRow("FX", "EURUSD", 8, both)
    assert again.joined(None) == again


def test_only_ticks_of_the_series_below_the_offset_are_withdrawn() -> None:
    # offsets     3       4  5       6       8       records at 4 is no tick
    # symbols     EURUSD  -  USDJPY  EURUSD  EURUSD
    withdrawn = Withdrawn({("FX", "EURUSD"): WithdrawnEnd(6, 0)})
    offsets = np.array([3, 4, 5, 6, 8])
    some = columns(["EURUSD", "USDJPY", "EURUSD", "EURUSD"], [0, 2, 3, 4])
    left, gone = withdrawn.split(some, offsets)
    assert (gone.offset.tolist(), gone.time_us.tolist()) == ([3], [0])
    assert left.index is not None
    assert offsets[left.index].tolist() == [5, 6, 8]
    assert [left.names[at][1] for at in left.series] == ["USDJPY", "EURUSD", "EURUSD"]


def test_of_other_partitions_nothing_is_withdrawn() -> None:
    assert len(Withdrawn.of([ROW], 1)) == 0
    three = Withdrawn.of([ROW], 3)
    assert three.end(("FX", "EURUSD")) == (9, 0)
    assert not three.holds_heartbeat("FX", "EURUSD", 0)
    zero = Withdrawn.of([ROW], 0)
    assert [zero.holds_heartbeat("FX", "EURUSD", at) for at in (1, 2)] == [True, False]
    assert not zero.holds_heartbeat("FX", "USDJPY", 1)
