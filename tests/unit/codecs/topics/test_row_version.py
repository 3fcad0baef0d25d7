"""Rows say by which layout they were written; later ones are refused and older ones read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from barstream.codecs.topics.batch_mark import BatchMark
from barstream.codecs.topics.row_version import ROW_VERSION, VERSION, RowTooNew
from barstream.codecs.topics.rules import RulesRow, decode_rules, encode_rules
from barstream.codecs.topics.state import (
    Position,
    WrittenUpTo,
    decode_position,
    decode_series,
    encode_position,
    encode_series,
)
from barstream.codecs.topics.withdrawal import (
    WithdrawalRow,
    WithdrawnEnd,
    decode_withdrawal,
    encode_withdrawal,
)
from barstream.config import Settings
from barstream.rules.series import PartitionState, Rules

POSITION = Position(
    7, 3, "id", ("5m", "1h"), BatchMark(5, 2, 1 << 31, 8, 0, 20),
    {"finals": WrittenUpTo(12, "one"), "fives": WrittenUpTo(-1)},
)  # fmt: skip
RULES = RulesRow.of(Settings())
WITHDRAWAL = WithdrawalRow("B", "X", 12, {0: WithdrawnEnd(3, 4)})


def series() -> bytes:
    state = PartitionState(Rules())
    return encode_series(state, state.add("B", "X"))


ROWS: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "position": (encode_position(POSITION), decode_position),
    "series": (series(), decode_series),
    "rules": (encode_rules(RULES), lambda value: decode_rules(RULES.key, value)),
    "withdrawal": (
        encode_withdrawal(WITHDRAWAL),
        lambda value: decode_withdrawal(WITHDRAWAL.key, value),
    ),
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_of_a_later_release_is_refused_whatever_follows(kind: str) -> None:
    value, decode = ROWS[kind]
    assert value.startswith(ROW_VERSION)
    decode(value)
    later = bytes([1, VERSION + 1])
    for rest in (value[2:], b"", b"something else altogether"):
        with pytest.raises(RowTooNew, match=f"version {VERSION + 1} in .*: a later release"):
            decode(later + rest)
    for broken in (b"\1", b"\1\0" + value[2:], b"\1\1" + value[2:]):
        with pytest.raises(ValueError, match="no row is of version"):
            decode(broken)


@pytest.mark.parametrize("kind", ["series", "rules", "withdrawal"])
def test_a_row_of_before_there_were_versions_says_the_same(kind: str) -> None:
    value, decode = ROWS[kind]
    assert decode(value.removeprefix(ROW_VERSION)) == decode(value)


def test_a_position_of_before_there_were_versions_knows_no_batch() -> None:
    assert decode_position(encode_position(POSITION)) == POSITION
    before = replace(POSITION, last_batch=None, written=None)
    body = encode_position(before).removeprefix(ROW_VERSION)
    # it ended where these two begin, and one of before that where the periods do
    assert decode_position(body[:-2]) == before
    older = encode_position(replace(before, periods=None)).removeprefix(ROW_VERSION)
    assert decode_position(older[:-3]) == replace(before, periods=None)
