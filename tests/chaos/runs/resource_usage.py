"""What a worker may take by docs/capacity.md, whatever comes from outside."""

from __future__ import annotations

from typing import Final

from barstream.config import Settings
from tests.chaos.runs.scrape import Watch

#: The process and what it has fetched; answers on their way to readers; what is being read.
_PROCESS_MIB: Final = 320
_ANSWERS_MIB: Final = 64
_READ_MIB: Final = 120
#: What a table of RocksDB takes that has few rows: a run fills no write buffer.
_TABLE_MIB: Final = 1
_PROCESS_FILES: Final = 64
_PARTITION_FILES: Final = 6
_TABLE_FILES: Final = 18
_BESIDE_CLIENTS: Final = 128


def most_mib(settings: Settings) -> int:
    """Memory of a worker that holds all partitions of a run, in MiB."""
    return (
        _PROCESS_MIB + _ANSWERS_MIB + _READ_MIB + _tables(settings) * _TABLE_MIB
        + settings.ticks.max_batch_mib
    )  # fmt: skip


def most_descriptors(settings: Settings) -> int:
    """Open files of a worker that holds all partitions of a run."""
    return (
        _PROCESS_FILES
        + settings.topics.partitions * _PARTITION_FILES
        + _tables(settings) * _TABLE_FILES
        + settings.web.max_connections
        + _BESIDE_CLIENTS
    )


def footprint_problems(watch: Watch, settings: Settings) -> list[str]:
    """Where a worker of a run took more than that."""
    found = []
    if watch.peak_mib > (most := most_mib(settings)):
        found.append(f"a worker took {watch.peak_mib:.0f} MiB, {most} are its bound")
    if watch.descriptors > (files := most_descriptors(settings)):
        found.append(f"a worker had {watch.descriptors} files open, {files} are its bound")
    return found


def _tables(settings: Settings) -> int:
    return settings.topics.partitions * (len(settings.bars.timeframes) + 2)
