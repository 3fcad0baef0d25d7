"""Real ticks of three feeds, with sessions and weekends, replayed."""

from __future__ import annotations

import pytest

from barstream.model.key import split_bar_key
from barstream.model.period import Period
from barstream.model.time import us_from_iso
from tests.functional.recorded_ticks import MONTH, Recorded
from tests.replay.replays import finals, newest, replay, shadows

pytestmark = pytest.mark.kafka


def test_a_replay_gives_the_published_bytes(recorded: Recorded) -> None:
    made = recorded.made
    said = replay(made, "--suffix", "same")
    assert (said.code, said.differences) == (0, []), said.text
    shadow = shadows(made, "same")
    for topic in finals(made):
        published = newest(made, topic)
        assert published, topic
        assert newest(made, shadow[topic]) == published, topic


def test_from_within_a_day_on_the_day_is_made_whole_and_marked(recorded: Recorded) -> None:
    # sessions   |=== Sun 22:00 ... Mon 22:00 ===|=== ...        FX days begin the evening before
    # replay                ^ from          ... to ^             inside two other days
    made = recorded.made
    start, end = "2013-02-05T10:30:00Z", "2013-02-12T09:00:00Z"
    said = replay(
        made, "--suffix", "part", MONTH.broker, MONTH.symbol, "--from", start, "--to", end
    )
    assert (said.code, said.differences) == (0, []), said.text
    shadow, names = shadows(made, "part"), made.names
    minutes = newest(made, shadow[names.final_1m])
    buckets = [split_bar_key(key)[2] for key in minutes]
    assert us_from_iso(start) <= min(buckets)
    assert max(buckets) < us_from_iso(end)
    assert minutes.items() <= newest(made, names.final_1m).items()
    days = newest(made, shadow[names.rollups[Period.days()]])
    assert days.items() <= newest(made, names.rollups[Period.days()]).items()
    # Tuesday the 5th, in which it begins, to Tuesday the 12th, in which it ends; no weekend
    dates = sorted(split_bar_key(key)[2] for key in days)
    assert dates == [
        us_from_iso(f"2013-02-{day:02d}T00:00:00Z") for day in (5, 6, 7, 8, 11, 12)
    ]  # fmt: skip
