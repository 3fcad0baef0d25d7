"""Policy revise: however the ticks are cut into batches, late ones do what one at a time does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barstream.model.bar import Bar
from barstream.model.period import MINUTE as ONE_MINUTE
from barstream.model.period import Period
from barstream.partition.finals_view import FinalsView
from tests.examples import examples
from tests.plain_bar import in_plain
from tests.property.test_batch_laws import (
    NAMES,
    close_edges,
    run_core,
    run_plain,
    schedules,
)
from tests.reference.series import MINUTE


class KeptBook(FinalsView):
    """Finals that lie before ``kept_from`` are deleted."""

    def __init__(self, kept_from: int) -> None:
        super().__init__({})
        self._kept_from = kept_from

    def put(self, period: Period, bar: Bar) -> None:
        if bar.bucket_start_us >= self._kept_from:
            super().put(period, bar)

    def retained_from_us(self, period: Period, broker: str, symbol: str) -> int | None:
        return self._kept_from


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Many ticks that are late by minutes or dates, and heartbeats that close ahead of ticks."""
    rows = {name: draw(schedules()) for name in NAMES[: draw(st.integers(1, 2))]}
    ends = [row.close_us for part in rows.values() for row in part]
    # ticks keep to the sessions' minutes, so that few are off session
    minutes = sorted(
        {m for part in rows.values() for r in part for m in range(r.open_us, r.close_us, MINUTE)}
    )
    at = draw(st.integers(0, len(minutes) - 1))
    events: list[tuple[Any, ...]] = []
    for _ in range(draw(st.integers(1, 50))):
        name = draw(st.sampled_from(sorted(rows)))
        if draw(st.integers(0, 7)) == 0:
            events.append(
                (name, minutes[at] // MINUTE * MINUTE - draw(st.integers(-3, 2)) * MINUTE)
            )
            continue
        at = min(len(minutes) - 1, at + draw(st.sampled_from([0, 0, 0, 1, 2, 5, 15])))
        back = draw(st.sampled_from([0, 0, 0, 1, 2, 3, 5, 15, 40]))
        time = minutes[max(0, at - back)] + draw(st.sampled_from([0, 1, 10_000_000, 59_999_999]))
        if draw(st.integers(0, 3)) == 0:
            time = draw(close_edges(rows[name], time))
        price = draw(st.integers(90, 110)) / 10
        size = draw(st.sampled_from([0.0, 1.0, 0.1, 0.3, 1e17, 3e-9, 123.456]))
        events.append((name, time, 0, price, size))
    return {
        "rows": rows,
        "grace": draw(st.sampled_from([0, 5_000_000, 60_000_000, 150_000_000])),
        "inactive_after": draw(st.integers(1, 3)),
        "events": events,
        "cuts": draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events))),
        "gaps": draw(st.lists(st.integers(1, 3), min_size=len(events), max_size=len(events))),
        "kept_from": draw(st.sampled_from([0, 0, 0, max(ends) // 2 // MINUTE * MINUTE])),
    }


@pytest.mark.law("L10")
@pytest.mark.slow
@settings(max_examples=examples(500), deadline=None)
@given(cases())
def test_any_batching_revises_as_one_tick_at_a_time(case: dict[str, Any]) -> None:
    kept_from = case["kept_from"]
    book = KeptBook(kept_from)
    state, out = run_core(case, book)
    plain = run_plain(case, revises=True, kept_from=kept_from)
    refused = [(int(at), why) for offsets, why in out.rejected for at in offsets]
    assert sorted(refused) == sorted(r for s in plain.values() for r in s.rejected)
    assert state.unpriced_minutes == sum(s.unpriced for s in plain.values())
    versions = {(bar.symbol, bar.bucket_start_us): bar for bar in out.finals}
    for name, series in plain.items():
        assert [in_plain(bar) for bar in out.finals if bar.symbol == name] == series.finals
        stand = {minute: bar for minute, bar in series.bars.items() if minute >= kept_from}
        found = book.between(ONE_MINUTE, "B", name, 0, 1 << 60)
        assert [in_plain(bar) for bar in found] == [stand[minute] for minute in sorted(stand)]
        kept = state.get("B", name)
        if kept is None or kept.last_trading_date is None:
            continue
        assert set(kept.open_bars) == set(series.ticks)
        assert kept.previous_close == series.last_close
        assert kept.last_trading_date == series.last_date
        assert int(state.watermark_us[kept.slot]) == series.watermark
        assert kept.filled_date == series.filled_date
    # what is said to have changed, applied in turn to the first finals, is what stands
    for change in out.revised:
        place = change.new.symbol, change.new.bucket_start_us
        if change.old is not None:
            assert versions[place] == change.old
        versions[place] = change.new
    assert all(
        book.get(ONE_MINUTE, "B", *place) == bar
        for place, bar in versions.items()
        if place[1] >= kept_from
    )
    assert len(out.merged) == sum(
        len(ticks) for series in plain.values() for ticks in series.ticks_of.values()
    ) - sum(not bar.synthetic and bar.tick_count for bar in out.finals)
