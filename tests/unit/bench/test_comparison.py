from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from bench.comparison import rows_of
from bench.contestants import contestants
from bench.report import DRAWING, PAGE, show, write
from bench.results import OtherSettings, Result, Results, Spread, with_cpu_of_bars
from bench.run import PHASES, Plan, places

NAMES = ("barstream", "kafka_streams_live", "kafka_streams_final")
SETTINGS = {"seed": 1}


@dataclass
class Named:
    title: str
    note: str = "does less"


CONTESTANTS = {name: Named(name.replace("_", " ")) for name in NAMES}
TITLES = {name: each.title for name, each in CONTESTANTS.items()}


def drained(number: int, contestant: str, ticks_per_s: float, bars_wrong: int = 0) -> Result:
    figures = {"ticks_per_s": ticks_per_s, "cpu_us_per_tick": 1e6 / ticks_per_s}
    wrong = {"bars": bars_wrong, "contested": min(1, bars_wrong), "expected": 100,
             "ticks_lost": bars_wrong, "ticks_taken": 0}  # fmt: skip
    return Result(number, "dense", "drain", contestant, figures, wrong)


def three_rounds() -> list[Result]:
    """A machine that is half as fast in the second round: the ratio stays."""
    return [
        drained(number, name, rate * speed, wrong)
        for number, speed in ((1, 1.0), (2, 0.5), (3, 1.0))
        for name, rate, wrong in zip(NAMES, (300, 100, 120), (0, 0, 2), strict=True)
    ]


def cells(results: list[Result]) -> dict[str, list[str]]:
    return {row.title: row.cells for row in rows_of(results, NAMES)}


def test_ratios_are_formed_within_a_round_and_to_the_best_variant() -> None:
    row = cells(three_rounds())["drain, ticks/s ↑"]
    assert row[0].startswith("2.50")
    assert "(" not in row[0]
    assert row[1].startswith("0.83")
    assert row[2] == "1 = 120"


def test_the_spread_is_least_and_most() -> None:
    results = [*three_rounds(), drained(4, "barstream", 600), drained(4, NAMES[2], 120)]
    assert cells(results)["drain, ticks/s ↑"][0].startswith("2.50 (2.50 to 5.00)")


def test_misses_of_all_rounds_stand_beside_the_ratios() -> None:
    found = cells(three_rounds())
    assert found["drain, bars wrong"] == ["0 of 300", "0 of 300", "6 of 300, 3 by what is late"]
    assert found["drain, ticks lost / taken"] == ["0 / 0", "0 / 0", "6 / 0"]


def test_without_kafka_streams_the_figures_stand_as_they_are() -> None:
    mine = [each for each in three_rounds() if each.contestant == "barstream"]
    assert cells(mine)["drain, ticks/s ↑"] == ["300 (150 to 300)", "—", "—"]


def test_what_failed_is_said() -> None:
    results = [*three_rounds(), Result(4, "dense", "drain", "barstream", failed="it ended")]
    assert cells(results)["drain, bars wrong"][0] == "failed"


def test_what_a_bar_costs_is_told_by_two_shapes() -> None:
    """1 µs a tick and 26 µs a bar; 120 and 5 ticks a bar."""
    results = [
        Result(1, shape, "drain", "barstream",
               {"cpu_us_per_tick": 1 + 26 / per_bar, "ticks_per_bar": per_bar})
        for shape, per_bar in (("dense", 120), ("sparse", 5))
    ]  # fmt: skip
    bar = with_cpu_of_bars(results, [("dense", "sparse"), ("many", "many-thin")])[-1]
    assert (bar.shape, bar.phase) == ("sparse less dense", "bar")
    assert bar.figures["cpu_us_per_bar"] == pytest.approx(26)


def test_a_run_that_was_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    results = Results(tmp_path, SETTINGS)
    first, failed = three_rounds()[0], Result(1, "dense", "drain", "flink", failed="it ended")
    results.add(first)
    results.add(failed)
    with (tmp_path / "results.jsonl").open("a") as out:
        out.write('{"round": 1, "sha')
    again = Results(tmp_path, SETTINGS)
    assert again.all == [first, failed]
    assert again.has(first.place)
    assert not again.has(failed.place)


def test_contestants_have_their_turn_within_a_round() -> None:
    every = {name: each for name, each in contestants().items() if name.startswith("barstream")}
    plan = Plan(
        contestants=every, shapes=["dense", "sessions"], phases=list(PHASES), rounds=2, seed=1,
        scale=1, rate=1, seconds=1, grace_s=5, partitions=4, budget_s=1, cores=(0, 1),
    )  # fmt: skip
    first = [place[1:] for place in places(plan) if place[0] == 1]
    assert first == [
        ("dense", "drain", "barstream"), ("dense", "replay", "barstream"),
        ("dense", "drain", "barstream-1m"), ("dense", "replay", "barstream-1m"),
        ("dense", "paced", "barstream"), ("dense", "paced", "barstream-1m"),
        ("dense", "scale", "barstream"),
        ("sessions", "drain", "barstream"), ("sessions", "replay", "barstream"),
        ("sessions", "drain", "barstream-1m"), ("sessions", "replay", "barstream-1m"),
    ]  # fmt: skip
    assert len(list(places(plan))) == 2 * len(first)


def test_results_of_other_settings_are_refused(tmp_path: Path) -> None:
    Results(tmp_path, SETTINGS)
    with pytest.raises(OtherSettings, match="seed: 1 there, 2 now"):
        Results(tmp_path, {"seed": 2})


def test_table_and_page_say_the_same(tmp_path: Path) -> None:
    results = Results(tmp_path / "results", SETTINGS)
    for each in three_rounds():
        results.add(each)
    out = io.StringIO()
    show(results, TITLES, Console(file=out, width=160))
    write(results, CONTESTANTS, tmp_path / "page")
    page = (tmp_path / "page" / PAGE).read_text()
    for said in ("1 = 120", "6 of 300, 3 by what is late"):
        assert said in out.getvalue()
        assert said in page
    assert json.loads(json.dumps(results.to_json()))["settings"] == SETTINGS


def test_the_drawing_has_a_bar_for_each_ratio(tmp_path: Path) -> None:
    results = Results(tmp_path / "results", SETTINGS)
    for each in three_rounds():
        results.add(each)
    write(results, CONTESTANTS, tmp_path)
    drawn = ET.parse(tmp_path / DRAWING).getroot()
    bars = [each for each in drawn.iter() if each.tag.endswith("rect")]
    assert len(bars) == 2 * len(NAMES)


def test_a_spread_is_the_median_between_least_and_most() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
