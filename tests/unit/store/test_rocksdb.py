"""What is on disk is read whole, or it is said that it cannot be."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from barstream.codecs.topics.batch_mark import BatchMark
from barstream.errors import StateUnusable
from barstream.store.rocksdb import LocalPartition
from barstream.store.tables import LocalStores
from tests.unit.partition.disk import OUTPUTS, ROWS, DiskStore, key, overwrite, sst_of

Read = Callable[[LocalPartition], object]


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "series")


def filled(store: DiskStore) -> Path:
    """Rows in one sorted file of RocksDB; that file, the database being closed."""
    table = LocalPartition(store, 0)
    table.write(((key(number), os.urandom(60)) for number in range(ROWS)), ROWS - 1)
    return store.closed(0)


@pytest.mark.parametrize(
    "read",
    [
        lambda table: list(table.items()),
        lambda table: list(table.range(key(0), key(ROWS))),
        lambda table: list(table.range_back(key(0), key(ROWS))),
        lambda table: [table.get(key(number)) for number in range(ROWS)],
    ],
    ids=["items", "range", "range_back", "get"],
)
def test_a_damaged_block_is_an_error_and_not_the_end_of_the_rows(
    store: DiskStore, read: Read
) -> None:
    """RocksDB's iterator just ends there: series would be forgotten, bars be left out."""
    told: list[str] = []
    overwrite(sst_of(filled(store)), at=0.5)
    table = LocalPartition(store, 0, lambda _, error: told.append(str(error)))
    with pytest.raises(StateUnusable, match="checksum mismatch"):
        read(table)
    assert len(told) == 1


def test_rows_before_the_damage_are_still_read(store: DiskStore) -> None:
    """Nobody is told of damage that nobody met."""
    overwrite(sst_of(filled(store)), at=0.5)
    assert len(list(LocalPartition(store, 0).range(key(0), key(10)))) == 10


def test_a_table_in_which_damage_was_met_is_set_aside_when_it_is_opened_again(
    tmp_path: Path,
) -> None:
    stores = {topic: DiskStore(tmp_path / topic) for topic in ("finals", "series")}
    told: list[str] = []
    local = local_stores(stores, told)
    path = filled(stores["series"])
    overwrite(sst_of(path), at=0.5)
    with pytest.raises(StateUnusable):
        list(local.open(0)["series"].items())
    assert told
    for store in stores.values():
        store.stop()
    again = local_stores(stores, told)
    table = again.open(0)["series"]
    assert table.offset() is None
    assert list(table.items()) == []
    assert [each for each in path.parent.iterdir() if ".damaged-" in each.name]
    # once, and not at every start from now on
    table.write([(key(1), b"value")], 7)
    once_more = local_stores(stores, told)
    assert once_more.open(0)["series"].offset() == 7


def test_a_batch_that_is_not_known_leaves_no_older_one_behind(store: DiskStore) -> None:
    """The batch of another offset would look like a tail that Kafka has lost."""
    table, mark = LocalPartition(store, 0), BatchMark(4, 3, 99, -1, -1, -1)
    table.write([(key(0), b"x")], 7, mark)
    assert table.last_batch() == mark
    table.write([(key(1), b"y")], 8)
    assert table.last_batch() is None
    assert [found for found, _ in table.items()] == [key(0), key(1)]


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST", "cut sst", "lost sst"])
def test_a_table_that_cannot_be_opened_is_set_aside_and_begun_anew(
    tmp_path: Path, name: str
) -> None:
    stores = {topic: DiskStore(tmp_path / topic) for topic in ("finals", "series")}
    path = filled(stores["series"])
    if name == "cut sst":
        os.truncate(sst_of(path), 100)
    elif name == "lost sst":
        sst_of(path).unlink()
    else:
        overwrite(next(path.glob(f"{name}*")), at=0.0)
    local = local_stores(stores)
    tables = local.open(0)
    assert tables["series"].offset() is None
    tables["series"].write([(key(1), b"value")], 3)
    assert tables["series"].offset() == 3


def test_files_that_another_worker_has_open_are_refused_and_left_alone(tmp_path: Path) -> None:
    stores = {topic: DiskStore(tmp_path / topic) for topic in ("finals", "series")}
    local_stores(stores).open(0)
    others = {topic: DiskStore(tmp_path / topic) for topic in ("finals", "series")}
    local = local_stores(others)
    with pytest.raises(StateUnusable, match="BARSTREAM_DATA_DIR"):
        local.open(0)
    assert not list(tmp_path.rglob("*.damaged*"))


def test_files_of_a_partition_that_is_not_kept_are_let_go(tmp_path: Path) -> None:
    stores = {topic: DiskStore(tmp_path / topic) for topic in ("finals", "series")}
    local = local_stores(stores)
    local.open(0)
    local.open(1)
    local.keep({1})
    assert set(stores["series"]._dbs) == {1}


def test_what_is_on_disk_is_told_before_anything_is_opened(tmp_path: Path) -> None:
    stores = {topic: DiskStore(tmp_path / topic) for topic in ("finals", "series")}
    local = local_stores(stores)
    assert local.on_disk() == []
    for partition in (0, 11):
        local.open(partition)
    (tmp_path / "series-7.db.damaged-20260101T000000").mkdir()
    (tmp_path / "series-x.db").mkdir()
    assert local.on_disk() == [0, 11]


def local_stores(stores: Mapping[str, DiskStore], told: list[str] | None = None) -> LocalStores:
    """Those of a worker; no damage is met unless ``told`` takes note of it."""

    def damaged(error: StateUnusable) -> None:
        # not the error itself: its traceback holds what was being read
        assert told is not None, error
        told.append(str(error))

    return LocalStores(
        {topic: partial(_itself, s) for topic, s in stores.items()}, OUTPUTS, damaged
    )


def _itself(store: DiskStore) -> DiskStore:
    return store
