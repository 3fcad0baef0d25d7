"""The judge of fault runs sees what is wrong: an account that cannot fail proves nothing."""

from __future__ import annotations

from typing import Any

import pytest

from barstream.codecs.avro.body import encode
from barstream.market.session import SessionRow
from tests.chaos.runs.judge import accounting, session_test
from tests.pipeline import Record

MINUTE = 60_000_000
START = 1_709_546_400_000_000


def tick(offset: int, time_us: int, price: float, size: float = 1.0) -> Record:
    row = {"broker": "B", "symbol": "X", "time": time_us, "price": price, "size": size}
    return Record(0, offset, 0, b"B\0X", encode("tick", row), {})


def bar(minute: int, prices: list[float], **changes: Any) -> dict[str, Any]:
    made = {
        "symbol": "X", "bucket_start": minute, "open": prices[0], "high": max(prices),
        "low": min(prices), "close": prices[-1], "volume": float(len(prices)),
        "tick_count": len(prices), "synthetic": False,
    }  # fmt: skip
    return made | changes


class Published:
    """What a pipeline would read back."""

    class Names:
        ticks = "ticks"

    names = Names()

    def __init__(self) -> None:
        self.ticks = [
            tick(0, START, 5.0),
            tick(1, START + 1, 6.0),
            tick(2, START + 2 * MINUTE, 7.0),
        ]
        self.ticks.append(Record(0, 3, 0, b"B\0X", b"\xff" * 7, {}))
        self.bars = [bar(START, [5.0, 6.0]), bar(START + 2 * MINUTE, [7.0])]
        self.refused = [self.refusal(3)]

    @staticmethod
    def refusal(offset: int) -> Record:
        headers = {"partition": b"0", "offset": str(offset).encode(), "reason": b"undecodable"}
        return Record(0, 0, 0, None, b"", headers)

    def read(self, _topic: str) -> list[Record]:
        return self.ticks

    def finals(self) -> list[dict[str, Any]]:
        return self.bars

    def rejected(self) -> list[Record]:
        return self.refused


def problems(published: Published, sent: int = 4) -> list[str]:
    return accounting(published, sent, session_test(None))  # type: ignore[arg-type]


def test_a_run_in_which_all_is_right_has_no_problem() -> None:
    assert problems(Published()) == []


@pytest.mark.parametrize(
    "changes",
    [{"tick_count": 1}, {"tick_count": 3}, {"close": 5.5}, {"high": 9.0}, {"volume": 2.5}],
    ids=lambda changes: next(iter(changes)),
)
def test_a_bar_that_is_not_the_fold_of_its_ticks_is_a_problem(changes: dict[str, Any]) -> None:
    published = Published()
    published.bars[0] |= changes
    assert len(problems(published)) == 1


def test_a_bar_that_is_missing_is_a_problem_unless_its_minute_is_open() -> None:
    published = Published()
    last = published.bars.pop()
    assert problems(published) == [], "nothing after it is closed either"
    published.bars = [last]
    assert len(problems(published)) == 1


def test_ticks_that_kafka_has_not_are_lost() -> None:
    assert len(problems(Published(), sent=5)) == 1


def test_a_tick_is_rejected_once_and_then_in_no_bar() -> None:
    published = Published()
    published.refused += [Published.refusal(3)]
    assert len(problems(published)) == 1
    published.refused = [Published.refusal(3), Published.refusal(1)]
    assert len(problems(published)) == 1, "it is in the bar as well"


def test_what_is_no_tick_must_be_rejected() -> None:
    published = Published()
    published.refused = []
    assert len(problems(published)) == 1


def test_ticks_off_session_need_no_bar() -> None:
    published = Published()
    published.bars = published.bars[1:]
    row = SessionRow("B", "X", 0, 0, START + MINUTE, START + 5 * MINUTE)
    assert accounting(published, 4, session_test([row])) == []  # type: ignore[arg-type]
