"""What the acceptance tests share: real files loaded once, real minutes lived through once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barstream.model.time import us_from_iso
from tests.functional.minutes import Minutes, live_through
from tests.functional.recorded_ticks import FILES, Recorded
from tests.functional.tick_records import MINUTE_US, now_us
from tests.pipeline import WorkerProcess, pipeline, until


@pytest.fixture(scope="session")
def recorded(
    kafka: Any, tmp_path_factory: pytest.TempPathFactory, data_dir_real: Path
) -> Iterator[Recorded]:
    """The three files of real ticks loaded by `ticks load` through a worker that runs."""
    name = f"t{secrets.token_hex(4)}"
    with pipeline(kafka.bootstrap, name, tmp_path_factory.mktemp("recorded")) as made:
        for file in FILES:
            file.load_schedule(made)
        worker = made.worker()
        began_us = now_us()
        said = {file.name: file.load(made, data_dir_real) for file in FILES}
        ends = {file: int(file.ticks(data_dir_real)["time_us"].to_numpy().max()) for file in FILES}

        def closed() -> bool:
            return all(
                (last := newest_bar(worker, file.broker, file.symbol))
                and last["status"] == "final"
                and us_from_iso(last["bucket_start"]) == end_us - end_us % MINUTE_US
                for file, end_us in ends.items()
            )

        until(closed, 90, "the last minute of each file final")
        yield Recorded(made, worker, data_dir_real, began_us, said)
        assert worker.stop() == 0


def newest_bar(worker: WorkerProcess, broker: str, symbol: str) -> dict[str, Any] | None:
    """The last bar of a series, as the worker answers."""
    bars = worker.get(f"/bars/{broker}/{symbol}?order=desc&limit=1").get("bars")
    return dict(bars[0]) if bars else None


@pytest.fixture(scope="session")
def minutes(
    kafka: Any, tmp_path_factory: pytest.TempPathFactory, data_dir_real: Path
) -> Iterator[Minutes]:
    """Two minutes of wall clock: quiet, steady and ending series, history beside them."""
    name = f"t{secrets.token_hex(4)}"
    directory = tmp_path_factory.mktemp("minutes")
    with pipeline(kafka.bootstrap, name, directory) as made:
        yield live_through(made, data_dir_real)
