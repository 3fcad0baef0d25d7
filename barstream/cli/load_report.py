"""What a load did, in words and as JSON: sent, left out, and what will be in no bar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from barstream.model.time import iso_micros_from_us
from barstream.plurals import counted

if TYPE_CHECKING:
    from barstream.feeds.admission import Admission
    from barstream.feeds.load_plan import Batch

_UNITS: Final = {1: "microseconds", 1_000: "milliseconds", 1_000_000: "seconds"}


def load_facts(batch: Batch) -> dict[str, Any]:
    """The fields of ``--json`` that are about the files."""
    counted, time_us = batch.ticks.counted, batch.ticks.time_us
    return {
        "rows": counted.rows,
        "refused": dict(counted.refused),
        "set_aside": dict(counted.set_aside),
        "first": iso_micros_from_us(int(time_us.min())),
        "last": iso_micros_from_us(int(time_us.max())),
        "times_cut": counted.cut,
        "numbers_rounded": counted.rounded,
        "zone": batch.layouts[0].timezone or "UTC",
        "zone_assumed": batch.ticks.assumed_zone and batch.layouts[0].timezone is None,
    }


def report_lines(batch: Batch, admission: Admission | None) -> Iterator[str]:
    """A line for each thing the user should know of what was sent and what was not."""
    facts, rows = load_facts(batch), batch.ticks.counted
    zone = f", times without a zone taken as {facts['zone']}" if batch.ticks.assumed_zone else ""
    yield f"from {facts['first']} to {facts['last']}{zone}"
    if rows.cut:
        yield f"{counted(rows.cut, 'time')} cut to whole {_UNITS[batch.time_us]}"
    if rows.rounded:
        ticks = "tick is" if rows.rounded == 1 else "ticks are"
        yield f"numbers of {rows.rounded:,} {ticks} rounded: the feed holds 32-bit floats"
    if admission is not None:
        for reason, count in admission.no_bar.items():
            verb = "makes" if count == 1 else "make"
            yield f"{count:,} {verb} no bar: {reason} (the first is {admission.first[reason]})"
    if rows.set_aside:
        yield (
            f"{counted(rows.set_aside.total(), 'row')} set aside, by the file's own word no ticks: "
            f"{_by(rows.set_aside)}"
        )
    if rows.refused:
        yield f"{counted(rows.refused.total(), 'row')} left out: {_by(rows.refused)}"
        for row in rows.shown:
            where = f"{row.file} " if len(batch.sources) > 1 else ""
            yield f"  {where}{row}"


def first_ticks(batch: Batch, count: int) -> Iterator[dict[str, Any]]:
    """The first ticks, by field."""
    ticks = batch.ticks
    for at in range(min(count, len(ticks))):
        broker, symbol = ticks.names[int(ticks.series[at])]
        size = None if ticks.size is None else float(ticks.size[at])
        yield {
            "time": iso_micros_from_us(int(ticks.time_us[at])),
            "broker": broker,
            "symbol": symbol,
            "price": float(ticks.price[at]),
            "size": None if size is None or size != size else size,  # noqa: PLR0124 - NaN
        }


def _by(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in counts.items())
