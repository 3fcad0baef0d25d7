"""Descriptors and the cache of blocks are shared by all tables of a worker."""

from __future__ import annotations

import gc
import logging
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rocksdict import WriteBatch

from barstream import worker
from barstream.errors import DescriptorsShort, StateUnusable
from barstream.store.table_budget import EACH, LEAST_OPEN_FILES, TableBudget
from barstream.store.tables import LocalStores
from tests.pipeline import ROOT, until
from tests.unit.partition.disk import OUTPUTS

CLIENTS = 100
BUFFERS = 8 << 20


def budget(limit: int, *, tables: int = 2, cache_mb: int = 1, count: int = 0) -> TableBudget:
    return TableBudget(tables, lambda: limit, CLIENTS, cache_mb << 20, BUFFERS, lambda: count)


class FaustStore:
    """As Faust's, as far as databases are opened."""

    offset_key = b"__faust\0offset__"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rocksdb_options: Any = None
        self._dbs: dict[int, Any] = {}

    def partition_path(self, partition: int) -> Path:
        return self.path / f"{partition}.db"

    def _db_for_partition(self, partition: int) -> Any:
        if partition not in self._dbs:
            path = self.partition_path(partition)
            self._dbs[partition] = self.rocksdb_options.open(path)
        return self._dbs[partition]

    def itself(self) -> FaustStore:
        return self


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[dict[str, FaustStore]]:
    made = {topic: FaustStore(tmp_path / topic) for topic in ("finals", "series")}
    for store in made.values():
        store.path.mkdir()
    yield made
    gc.collect()
    for store in made.values():
        for database in store._dbs.values():
            database.close()


def local(stores: dict[str, FaustStore], shared: TableBudget) -> LocalStores:
    def damaged(error: StateUnusable) -> None:
        raise error

    return LocalStores(
        {topic: store.itself for topic, store in stores.items()}, OUTPUTS, damaged, shared
    )


def open_files(path: Path) -> int:
    """Descriptors of this process below a directory."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        try:
            found += each.readlink().is_relative_to(path)
        except FileNotFoundError:  # that of the listing itself
            continue
    return found


def rows(count: int) -> WriteBatch:
    batch = WriteBatch(raw_mode=True)
    for _ in range(count):
        batch.put(os.urandom(16), os.urandom(200))
    return batch


def test_tables_take_no_more_than_was_reckoned_with(
    stores: dict[str, FaustStore], tmp_path: Path
) -> None:
    shared = budget(budget(0).need(3).grown)
    assert shared.share(3) == LEAST_OPEN_FILES
    made = local(stores, shared)
    made.keep({0, 1, 2})
    for store in stores.values():
        store.rocksdb_options.target_file_size_base = 64 << 10  # many small files
    for partition in range(3):
        made.open(partition)
    assert 0 < open_files(tmp_path) <= 6 * EACH
    for store in stores.values():
        for database in store._dbs.values():
            for _ in range(12):
                database.write(rows(2_000))
                database.flush()
            database.compact_range(None, None)
            assert len(list(Path(database.path()).glob("*.sst"))) > 2 * LEAST_OPEN_FILES
            cursor = database.iter()
            cursor.seek_to_first()
            while cursor.valid():
                cursor.next()
            del cursor
    assert open_files(tmp_path) <= 6 * (EACH + LEAST_OPEN_FILES - 10)
    # and one small cache for what was read of all of them
    assert 0 < shared._cache.get_usage() <= 2 << 20


def test_rows_on_their_way_to_disk_take_one_measure_of_memory(
    stores: dict[str, FaustStore],
) -> None:
    """Each table alone would keep up to 8 MiB of them, small ones for weeks: memory that grows."""
    shared = budget(10_000)
    made = local(stores, shared)
    made.keep(set(range(12)))
    for partition in range(12):
        made.open(partition)
    empty = shared._buffers.get_usage()
    databases = [database for store in stores.values() for database in store._dbs.values()]
    # with a row or none in each they are far from it, or every row would be a file
    assert 0 < empty < BUFFERS / 2
    for _ in range(8):
        for database in databases:
            database.write(rows(1_000))
    # what was written last stays in memory, of each of them
    most = BUFFERS + len(databases) * (300 << 10)
    until(lambda: shared._buffers.get_usage() <= most, 10, "older rows on disk")


def test_tables_that_cannot_all_be_opened_are_refused_before_the_first_is(
    stores: dict[str, FaustStore], tmp_path: Path
) -> None:
    enough = budget(0).need(3).least
    made = local(stores, budget(enough - 1))
    with pytest.raises(DescriptorsShort) as refused:
        made.keep({0, 1, 2})
    assert f"may have {enough - 1:,}: raise the limit to " in str(refused.value)
    assert "mv " not in str(refused.value)  # nothing is wrong with the files
    assert open_files(tmp_path) == 0
    local(stores, budget(enough)).keep({0, 1, 2})


def test_what_is_left_is_divided_by_all_partitions_there_are() -> None:
    """A table that is open keeps its share, so it must fit when the other workers are gone."""
    alone, with_others = budget(10_000), budget(10_000, count=24)
    assert alone.share(4) > with_others.share(4) == with_others.share(24)
    # ten of what RocksDB is told are no files
    assert 48 * (EACH + with_others.share(4) - 10) < 10_000
    assert budget(10).share(24) == LEAST_OPEN_FILES


def test_a_limit_too_low_for_all_partitions_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    need = budget(0).need(24)
    shared = budget(need.grown - 1, count=24)
    with caplog.at_level(logging.WARNING):
        shared.require(2)
        shared.require(3)
    (said,) = caplog.messages
    assert f"may open {need.grown - 1} files" in said
    assert f"all 24 partitions may need {need.grown}, {need.least} at least" in said
    caplog.clear()
    budget(need.grown, count=24).require(2)
    assert not caplog.messages


def test_files_that_cannot_be_opened_for_want_of_descriptors_are_not_to_be_moved_away(
    tmp_path: Path,
) -> None:
    def short(_: int) -> None:
        raise RuntimeError(
            f"IO error: While open a file for append: {tmp_path}: Too many open files"
        )

    store = SimpleNamespace(
        partition_path=lambda partition: tmp_path / f"{partition}.db",
        _db_for_partition=short,
        _dbs={},
    )
    stores = {topic: partial(_itself, store) for topic in ("finals", "series")}
    with pytest.raises(DescriptorsShort, match="nothing is wrong with what is on disk"):
        LocalStores(stores, OUTPUTS, lambda _: None).open(0)


def _itself(store: object) -> object:
    return store


def test_a_worker_takes_as_many_descriptors_as_it_may_have() -> None:
    program = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (300, 700))\n"
        "from barstream.worker import _raise_descriptors\n"
        "_raise_descriptors()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "(700, 700)"


@pytest.mark.parametrize(
    ("hard", "most", "found"),
    [(4_096, 4_096, 4_096), (-1, 20_000, 10_240), (-1, 1 << 20, 65_536), (-1, -1, 1 << 20)],
)
def test_a_kernel_that_refuses_what_it_allows_is_asked_for_less(
    monkeypatch: pytest.MonkeyPatch, hard: int, most: int, found: int
) -> None:
    """As that of macOS, which says that there is no limit."""
    limits = [(256, hard)]

    def change(_: int, asked: tuple[int, int]) -> None:
        if most != -1 and not 0 <= asked[0] <= most:
            raise ValueError("current limit exceeds maximum limit")
        limits.append(asked)

    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", change)
    worker._raise_descriptors()
    assert worker._descriptors() == found
