"""Real ticks, a real broker, a real worker: what is published is what polars computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.offline import bars_of, differences
from tests.pipeline import pipeline, until

pytestmark = pytest.mark.kafka


def test_usdjpy_quotes_become_the_bars_polars_makes_of_the_file(
    kafka: Any, unique: str, tmp_path: Path, data_dir_real: Path
) -> None:
    source = data_dir_real / "truefx-usdjpy-ticks.csv"
    with pipeline(kafka.bootstrap, unique, tmp_path) as made:
        made.run(
            "schedule", "load", "--calendar", "FX", "--broker", "TFX", "--symbol", "USDJPY",
            "--from", "2012-12-20", "--to", "2013-01-20", "--yes",
        )  # fmt: skip
        worker = made.worker()
        made.run(
            "ticks", "load", str(source), "--broker", "TFX", "--symbol", "USDJPY",
            "--map", "time=timestamp", "--map", "bid=bid", "--map", "ask=ask",
        )  # fmt: skip
        ticks = pl.read_csv(source).select(
            time_us=pl.col("timestamp")
            .str.to_datetime(time_unit="us", time_zone="UTC")
            .dt.epoch("us"),
            price=(pl.col("bid") + pl.col("ask")) / 2,
            size=pl.lit(0.0),
            offset=pl.int_range(pl.len()),
        )
        expected = bars_of(ticks)
        until(lambda: len(made.finals()) >= len(expected), 60, "all finals")
        assert differences(expected, made.finals()) == []
        assert len(made.finals()) == len(expected), "a bar was written twice"
        assert not made.rejected()
        assert worker.stop() == 0
