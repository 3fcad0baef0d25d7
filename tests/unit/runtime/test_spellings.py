"""Names that differ in case alone: one series or two, but never so in silence."""

from __future__ import annotations

import logging

import numpy as np
import orjson
import pytest

from barstream.codecs.ticks import series_names
from barstream.codecs.ticks.decoder import TickDecoder
from barstream.codecs.ticks.series_names import Respelled
from barstream.config import TickSettings
from barstream.errors import NameRuleChanged
from barstream.market.schedule import ScheduleIndex, SessionRow
from barstream.market.universe import SeriesSeen, Universe
from barstream.metrics import Metrics
from barstream.model.key import FOLDED, NameRule
from barstream.runtime.spellings import Spellings, refuse_unreachable

KEPT = NameRule(fold_case=False)


def decoded(decoder: TickDecoder, *symbols: str) -> list[tuple[str, str]]:
    values = [
        orjson.dumps({"broker": "x", "symbol": symbol, "price": 1, "time": 1_700_000_000})
        for symbol in symbols
    ]
    found = decoder.decode(values, np.full(len(values), -1))
    assert not found.rejected
    return [found.names[at] for at in found.series]


def decoder_of(*, fold_case: bool) -> TickDecoder:
    return TickDecoder(TickSettings(format="json", fold_case=fold_case))


def test_a_preferred_share_is_another_one_where_case_is_kept() -> None:
    # folded, BCpC at 25 was the low of BCPC at 80
    decoder = decoder_of(fold_case=False)
    assert decoded(decoder, "BCPC", "BCpC", " BCpC ") == [
        ("x", "BCPC"),
        ("x", "BCpC"),
        ("x", "BCpC"),
    ]
    assert decoder.take_respelled() == []


def test_two_spellings_of_one_series_are_noticed_once_and_trimming_is_none() -> None:
    decoder = decoder_of(fold_case=True)
    assert set(decoded(decoder, "BCPC", " BCPC ", "GE")) == {("X", "BCPC"), ("X", "GE")}
    assert decoder.take_respelled() == []
    decoded(decoder, "BCpC", "bcpc")
    assert decoder.take_respelled() == [Respelled(("X", "BCPC"), ("x", "BCPC"), ("x", "BCpC"))]
    decoded(decoder, "bcPc", "BCPC")
    assert decoder.take_respelled() == []


def test_names_without_end_take_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series_names, "_REMEMBERED", 10)
    decoder = decoder_of(fold_case=True)
    for number in range(100):
        decoded(decoder, f"S{number}", f"s{number}")
    assert len(decoder._names._first) == 10
    assert len(decoder.take_respelled()) == 10


def test_both_spellings_are_logged_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    told = Spellings(FOLDED, ScheduleIndex, metrics)
    found = [Respelled(("X", f"S{n}"), ("X", f"S{n}"), ("X", f"s{n}")) for n in range(500)]
    with caplog.at_level(logging.WARNING):
        told.folded(found)
    assert "'X' 'S0' and 'X' 's0', bars are of X S0" in caplog.messages[0]
    assert "ticks.fold_case = false" in caplog.messages[0]
    assert len(caplog.messages) == 100, "a hostile producer does not fill the log"
    assert metrics.registry.get_sample_value("barstream_series_respelled_total") == 500


def test_unscheduled_ticks_name_the_schedule_that_was_meant(
    caplog: pytest.LogCaptureFixture,
) -> None:
    index = ScheduleIndex.build([SessionRow("X", "BCPC", 19_000, 0, 0, 60_000_000)])
    with caplog.at_level(logging.WARNING):
        Spellings(FOLDED, lambda: index, Metrics()).unscheduled([("X", "bcpc")])
        told = Spellings(KEPT, lambda: index, Metrics())
        told.unscheduled([("X", "GE")])
        assert caplog.messages == []
        for _ in range(3):
            told.unscheduled([("X", "GE"), ("x", "BCpC")])
    [line] = caplog.messages
    assert "'x' 'BCpC' are unscheduled, and 'X' 'BCPC' is scheduled" in line


def test_folding_is_not_turned_on_over_names_that_need_their_case() -> None:
    universe = Universe()
    for symbol in ("BCPC", "GE"):
        universe.put(SeriesSeen("X", symbol, 0, 0, 0, False, 0))
    refuse_unreachable(universe, FOLDED)
    universe.put(SeriesSeen("X", "BCpC", 0, 0, 0, False, 0))
    refuse_unreachable(universe, KEPT)
    with pytest.raises(NameRuleChanged, match=r"must stay false, .* \(X BCpC\)"):
        refuse_unreachable(universe, FOLDED)
