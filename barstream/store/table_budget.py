"""What the local tables of a worker take together: descriptors, and memory.

RocksDB is one database for each table and partition, and each would take as much as if it were
alone: nine tenths of the descriptors of the process, a cache of its own, and buffers for rows to be
written that fill for weeks.  So there is one cache for all of them, one measure of their buffers,
and what descriptors are left for files of rows is divided.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from faust.stores.rocksdb import RocksDBOptions
from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    Options,
    WriteBufferManager,
)

from barstream.errors import DescriptorsShort

log = logging.getLogger(__name__)

#: Of a database without a row: its log, lock and manifest, the log of what is to be written and
#: two directories; and two for what is being replaced.
EACH: Final = 8
#: RocksDB lets no database have fewer, and keeps ten of them for itself.
LEAST_OPEN_FILES: Final = 20
_ITS_OWN: Final = 10
#: Python, its libraries, the clients of Kafka that there is one of.  With four partitions and one
#: broker 27 were open, producers included; of more brokers a client holds a connection each.
_PROCESS: Final = 64
#: A producer.
_EACH_PARTITION: Final = 6
_WRITE_BUFFER_BYTES: Final = 8 << 20
#: A buffer grows in pieces of this size, one at the least.  Of the mebibyte that RocksDB takes by
#: itself the tables of 24 partitions would be over the measure with a row in each.
_PIECE_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Need:
    """Descriptors that a number of partitions call for, without a row and with many."""

    least: int
    grown: int


class TableBudget:
    """Shares out what there is; asked before tables are opened.

    Args:
        tables: of each partition.
        descriptors: tells how many the process may have.
        clients: of these, those that connections of its HTTP clients may take.
        cache_bytes: for blocks of all tables together.
        buffer_bytes: for rows of all tables together that stand in no file of rows yet; over it, a
            table that is written puts those it had on disk.
        count: how many tick partitions there are; None: not known yet.
    """

    def __init__(
        self,
        tables: int,
        descriptors: Callable[[], int],
        clients: int,
        cache_bytes: int,
        buffer_bytes: int,
        count: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._tables = tables
        self._descriptors = descriptors
        self._clients = clients
        self._count = count
        self._has_warned = False
        self._cache = Cache(cache_bytes)
        # nobody waits: what is over the measure is on its way to disk
        self._buffers = WriteBufferManager(buffer_bytes, allow_stall=False)

    def need(self, partitions: int) -> Need:
        """Of a worker that holds so many, or keeps copies of them."""
        other = _PROCESS + self._clients + _EACH_PARTITION * partitions
        databases = partitions * self._tables
        return Need(
            other + databases * EACH, other + databases * (EACH + LEAST_OPEN_FILES - _ITS_OWN)
        )

    def require(self, partitions: int) -> None:
        """Make sure that the tables of so many partitions can be opened.

        Raises:
            DescriptorsShort: they cannot.
        """
        need = self.need(partitions)
        found = self._descriptors()
        if need.least > found:
            raise DescriptorsShort(
                f"the {self._tables} tables of each of {partitions} partitions need "
                f"{need.least:,} file descriptors with what else is open, and this process may "
                f"have {found:,}: raise the limit to {need.grown:,} (ulimit -n, "
                "LimitNOFILE= of systemd, --ulimit nofile= of containers), or start more workers"
            )
        everything = self._everything(partitions)
        if (need := self.need(everything)).grown > found and not self._has_warned:
            self._has_warned = True
            self._warn(everything, need, found)

    def _everything(self, partitions: int) -> int:
        """All that may come here, as far as is known."""
        return max(partitions, self._count() or 0)

    def _warn(self, partitions: int, need: Need, found: int) -> None:
        log.warning(
            "this process may open %d files, and a worker that holds all %d partitions may need "
            "%d, %d at least: raise the limit (ulimit -n, LimitNOFILE= of systemd)",
            found, partitions, need.grown, need.least,
        )  # fmt: skip

    def share(self, partitions: int) -> int:
        """RocksDB's ``max_open_files`` of each database, should all partitions come here."""
        most = max(1, self._everything(partitions))
        left = self._descriptors() - self.need(most).least
        return max(LEAST_OPEN_FILES, left // (self._tables * most) + _ITS_OWN)

    def apply(self, store: Any, partitions: int) -> None:
        """Have a store of Faust open its databases within their share."""
        store.rocksdb_options = _Shared(self._cache, self._buffers, self.share(partitions))


class _Shared(RocksDBOptions):
    """As Faust's, but for what is shared, which it would make anew for each database."""

    def __init__(self, cache: Cache, buffers: WriteBufferManager, max_open_files: int) -> None:
        super().__init__(
            max_open_files=max_open_files,
            write_buffer_size=_WRITE_BUFFER_BYTES,
            use_rocksdict=True,
        )
        self._cache = cache
        self._buffers = buffers

    def as_options(self) -> Options:
        """Of one database."""
        options: Options = super().as_options()
        # each of the 64 parts that there are by default keeps one file at least
        options.set_table_cache_num_shard_bits(0)
        options.set_write_buffer_manager(self._buffers)
        options.set_arena_block_size(_PIECE_BYTES)
        blocks = BlockBasedOptions()
        blocks.set_bloom_filter(self.bloom_filter_size, block_based=True)
        blocks.set_index_type(BlockBasedIndexType.binary_search())
        blocks.set_block_cache(self._cache)
        options.set_block_based_table_factory(blocks)  # in place of Faust's, and of its cache
        return options
