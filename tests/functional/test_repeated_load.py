"""A file sorted by symbol, loaded once, refused the second time, and loaded again all the same."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.functional.records import MORNING_US, end_offset, problems
from tests.functional.tick_records import SECOND_US, Tick
from tests.pipeline import pipeline, until

pytestmark = pytest.mark.kafka


def test_a_file_sorted_by_symbol_gives_whole_bars_and_a_second_load_changes_none(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # S0 10:00 ... 13:00, then S1 from 10:00 again, then S2: one clock per series
    chance = random.Random(11)
    ticks: dict[str, list[Tick]] = {}
    for symbol in ("S0", "S1", "S2"):
        times = sorted(chance.randrange(3 * 3600 * SECOND_US) for _ in range(4_000))
        ticks[symbol] = [
            Tick("B", symbol, MORNING_US + t, chance.randrange(900, 1100) / 8, chance.random())
            for t in times
        ]
    path = tmp_path / "sorted.csv"
    rows = [
        f"{t.symbol},{t.time_us},{t.price!r},{t.size!r}" for some in ticks.values() for t in some
    ]
    path.write_text("\n".join(["s,t,p,q", *rows]) + "\n")
    load = [
        "ticks", "load", str(path), "--broker", "B", "--map", "symbol=s", "--map", "time=t",
        "--map", "price=p", "--map", "size=q",
    ]  # fmt: skip
    with pipeline(kafka.bootstrap, unique, tmp_path, BARS__SCHEDULE="false") as made:
        worker = made.worker()
        made.run(*load)

        def closed() -> bool:
            finals = made.finals()
            return all(
                any(
                    bar["symbol"] == symbol and bar["bucket_start"] + 60 * SECOND_US > end.time_us
                    for bar in finals
                )
                for symbol, (*_, end) in ticks.items()
            )

        until(closed, 30, "the last minute of each series final")
        for symbol, some in ticks.items():
            assert problems(made, symbol, enumerate(some)) == []
        assert not made.rejected()
        finals = [(r.key, r.value) for r in made.read(made.names.final_1m)]
        assert len(finals) == len({key for key, _ in finals})

        ends = [end_offset(made, partition) for partition in range(4)]
        said = made.run(*load, check=False)
        assert "was loaded before" in said
        assert "--again" in said
        assert ends == [end_offset(made, partition) for partition in range(4)]

        total = sum(map(len, ticks.values()))
        made.run(*load, "--again")
        until(lambda: sum(worker.get("/status")["rejected"].values()) >= total, 30, "all judged")
        until(lambda: len(made.rejected()) >= total, 15, "all written")
        found = made.rejected()
        assert {record.headers["reason"] for record in found} == {b"late"}
        assert len(found) == total
        assert [(r.key, r.value) for r in made.read(made.names.final_1m)] == finals
        assert worker.stop() == 0
