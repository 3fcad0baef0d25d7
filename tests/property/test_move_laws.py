"""A series that is moved: what it is made of gives in its new home the bars there were.

::

    home    x x . x b x | closed by ticks and heartbeats, in any chunks
    new     x x x x x b | its accepted ticks by time, and one heartbeat behind them
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.codecs.ticks.decoder import TickDecoder
from barstream.codecs.topics.bar import decode_bar
from barstream.model.bar import Bar
from barstream.model.key import split_bar_key
from barstream.model.period import MINUTE, Period
from barstream.model.time import MINUTE_US
from barstream.series.move import Copied, differences, made_of
from tests.examples import examples
from tests.property.engine_cases import Case, cases, cuts, deliver, feed
from tests.property.rules_cases import TICKS, Topics, standing, value_of

PERIODS = (Period.parse("5m"), Period.parse("1d"))
NOW_US = 1 << 55


def lived(case: Case, data: st.DataObject) -> Topics:
    """A worker that has applied the log."""
    store, engine = Topics(periods=PERIODS), case.engine(PERIODS)
    deliver(engine, case.beats)
    for start, end in cuts(data.draw, 0, case.end):
        feed(engine, case.ticks, start, end)
        store.flush(engine)
    return store


def copies(case: Case, store: Topics, symbol: str) -> list[Copied]:
    """Its ticks that were not rejected."""
    rejected = {int(said["offset"]) for _, _, said in store.rejected}
    return sorted(
        Copied(tick.time_us, tick.offset, None, value_of(tick))
        for tick in case.ticks
        if tick.symbol == symbol and tick.price is not None and tick.offset not in rejected
    )


def published(store: Topics, symbol: str) -> dict[Period, list[Bar]]:
    rows = {MINUTE: store.finals, **store.uppers}
    return {
        period: [
            decode_bar(value)
            for key, value in sorted(standing(some).items())
            if split_bar_key(key)[1] == symbol
        ]
        for period, some in rows.items()
    }


def moved(
    case: Case, ticks: Sequence[Copied], finals: dict[Period, list[Bar]], symbol: str
) -> list[tuple[str, int]]:
    last = max((bar.bucket_start_us for bar in finals[MINUTE]), default=None)
    decoder = TickDecoder(TICKS, max_future_skew_us=0)
    made = made_of(
        ("B", symbol), ticks, last, case.rules, case.provider, decoder, PERIODS, NOW_US
    )  # fmt: skip
    return differences(finals, made)


@settings(max_examples=examples(50), deadline=None)
@given(st.data(), cases(), st.sampled_from(["reject", "revise"]))
def test_its_bars_come_out_as_they_were(
    data: st.DataObject, case: Case, policy: Literal["reject", "revise"]
) -> None:
    case = replace(case, rules=replace(case.rules, late_policy=policy))
    store, symbol = lived(case, data), data.draw(st.sampled_from(sorted(case.rows)))
    finals = published(store, symbol)
    assert moved(case, copies(case, store, symbol), finals, symbol) == []


@settings(max_examples=examples(25), deadline=None)
@given(st.data(), cases())
def test_bars_of_a_version_without_turnover_are_no_hindrance(
    data: st.DataObject, case: Case
) -> None:
    store, symbol = lived(case, data), data.draw(st.sampled_from(sorted(case.rows)))
    finals = {
        period: [bar.replace(turnover=None) for bar in bars]
        for period, bars in published(store, symbol).items()
    }
    ticks = copies(case, store, symbol)
    assert moved(case, ticks, finals, symbol) == []
    for period, bars in finals.items():
        finals[period] = [bar.replace(turnover=-1.5) for bar in bars]
    assert (moved(case, ticks, finals, symbol) != []) == any(finals.values())


@settings(max_examples=examples(25), deadline=None)
@given(st.data(), cases())
def test_where_a_tick_is_gone_it_is_not_moved(data: st.DataObject, case: Case) -> None:
    store, symbol = lived(case, data), data.draw(st.sampled_from(sorted(case.rows)))
    finals, ticks = published(store, symbol), copies(case, store, symbol)
    inside = {bar.bucket_start_us for bar in finals[MINUTE] if bar.tick_count}
    # one off session may be of the same minute
    is_open = case.series(symbol).session
    of_bars = [
        tick
        for tick in ticks
        if tick.time_us - tick.time_us % MINUTE_US in inside and is_open(tick.time_us)
    ]
    if not of_bars:
        return
    gone = data.draw(st.sampled_from(of_bars))
    assert moved(case, [tick for tick in ticks if tick != gone], finals, symbol)
