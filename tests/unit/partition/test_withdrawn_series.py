"""A worker takes nothing of a series that was dropped, and all that came since."""

from __future__ import annotations

from barstream.codecs.topics.withdrawal import Withdrawn, WithdrawnEnd
from barstream.market.schedule import SessionRow
from barstream.model.time import MINUTE_US, SECOND_US
from barstream.rules.series import Rules
from tests.property.engine_cases import Beat, Case, Tick, deliver, feed, finals_of

LATE_US = 60 * MINUTE_US
GRACE_US = 5 * SECOND_US
ROWS = {name: [SessionRow("B", name, 0, 0, 0, LATE_US)] for name in ("X", "Y")}


def test_a_heartbeat_of_before_closes_nothing_of_what_came_since() -> None:
    # ticks       0: X 0:10 (withdrawn)  1: X 0:20  2: Y 0:30      of X below 1
    # heartbeats  0: X minute 5          1: Y minute 0             of X below 1, read after all
    ticks = [
        Tick(0, "X", 10 * SECOND_US, 9.0),
        Tick(1, "X", 20 * SECOND_US, 1.0),
        Tick(2, "Y", 30 * SECOND_US, 2.0),
    ]
    engine = Case(ROWS, Rules(GRACE_US), ticks, [], 3).engine()
    engine.withdrawn = Withdrawn({("B", "X"): WithdrawnEnd(1, 1)})
    feed(engine, ticks, 0, 3)
    deliver(engine, [Beat(0, "X", 5 * MINUTE_US, 1, LATE_US), Beat(1, "Y", 0, 3, LATE_US)])
    assert sorted(finals_of(engine)) == ["Y"]

    # one that was sent since closes what is there: the minute of one tick
    deliver(engine, [Beat(2, "X", 0, 3, LATE_US)])
    (bar,) = finals_of(engine)["X"]
    assert (bar.open, bar.high, bar.tick_count, bar.first_offset) == (1.0, 1.0, 1, 1)
