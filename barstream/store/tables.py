"""The local tables of the partitions this worker holds or keeps a copy of.

What is on disk is a copy of the changelogs in Kafka, so files that cannot be read are moved aside
and made again.  They are kept, because they may tell what happened to the disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from barstream.errors import DescriptorsShort, StateUnusable
from barstream.kafka.clients import TopicPartition
from barstream.kafka.cluster import Cluster
from barstream.kafka.topic_identity import topic_ids
from barstream.kafka.topics.outputs import OutputTopics
from barstream.store.directory import StateIdentity, admit
from barstream.store.finals import FinalsPartition
from barstream.store.quarantine import aside_of
from barstream.store.rocksdb import LocalPartition, is_corruption
from barstream.store.table_budget import TableBudget

log = logging.getLogger(__name__)

_MARK: Final = ".damaged"
#: How RocksDB ends what it says when the process may have no more descriptors (EMFILE).
_NO_DESCRIPTOR: Final = "Too many open files"

Stores = Mapping[str, Callable[[], Any]]
"""RocksDB store by table topic; Faust opens it when the app starts."""
Tables = dict[str, LocalPartition]
"""Local tables of one partition by topic: the finals, minutes first, then the series."""


class LocalStores:
    """Opens and closes the tables of partitions.

    Args:
        stores: see `Stores`.
        outputs: names of the topics.
        on_damage: told when rows that are on disk cannot be read.
        budget: what the tables may take together; None: what Faust gives each of them.
        on_lost_tail: told of each topic of which Kafka lost rows that a table has.
    """

    def __init__(
        self,
        stores: Stores,
        outputs: OutputTopics,
        on_damage: Callable[[StateUnusable], None],
        budget: TableBudget | None = None,
        on_lost_tail: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._on_lost_tail = on_lost_tail
        self._stores = stores
        self._outputs = outputs
        self._on_damage = on_damage
        self._budget = budget
        self._open: set[int] = set()
        #: Identities of the topics that the tables are copies of, where brokers give them.
        self.ids: Mapping[str, str] = {}

    def on_disk(self) -> list[int]:
        """Partitions of which there are tables, whatever is in them."""
        name = Path(self._stores[self._outputs.series]().partition_path(0)).name
        before, after = name.rsplit("0", 1)
        numbers = (
            path.name[len(before) : -len(after)]
            for path in self._directory.glob(f"{before}*{after}")
        )
        return sorted(int(number) for number in numbers if number.isdecimal())

    @property
    def _directory(self) -> Path:
        return Path(next(iter(self._stores.values()))().partition_path(0)).parent

    async def admit(self, cluster: Cluster, app_id: str) -> None:
        """Make sure that the local tables are copies of the topics there are now.

        Raises:
            StateUnusable: a topic was made again.
            KafkaError: no broker answered.
        """
        ids = await topic_ids(cluster, self._stores)
        self.ids = ids.topics
        now = StateIdentity(app_id, ids.cluster, ids.topics)
        admit(self._directory, now, is_open=bool(self._open))

    def open(self, partition: int) -> Tables:
        """The tables of a partition; damaged ones are moved aside and begun anew.

        Raises:
            StateUnusable: the files belong to a process that runs, or cannot be opened at all.
            DescriptorsShort: the process may have no more open files.
        """
        self._open.add(partition)
        made: Tables = {}
        for topic in self._outputs.finals_by_period.values():
            made[topic] = FinalsPartition(self._opened(topic, partition), partition, self._damaged)
        series = self._outputs.series
        made[series] = LocalPartition(self._opened(series, partition), partition, self._damaged)
        return made

    def keep(self, partitions: Collection[int]) -> None:
        """Let the files go of those partitions that are not among these, which can be opened.

        Raises:
            DescriptorsShort: they cannot all be opened.
        """
        for partition in self._open.difference(partitions):
            for store in self._stores.values():
                store()._dbs.pop(partition, None)
        self._open.intersection_update(partitions)
        if self._budget is not None:
            self._budget.require(len(partitions))
            for store in self._stores.values():
                self._budget.apply(store(), len(partitions))

    def _opened(self, topic: str, partition: int) -> Any:
        store = self._stores[topic]()
        path = Path(store.partition_path(partition))
        if _mark_of(path).exists():
            store._dbs.pop(partition, None)
            self._set_aside(path, "rows could not be read")
        try:
            store._db_for_partition(partition)
        except Exception as error:
            if _NO_DESCRIPTOR in str(error):
                raise DescriptorsShort(
                    f"{path} must be opened, and this process may have no more open files: raise "
                    "the limit (ulimit -n, LimitNOFILE= of systemd), or start more workers; "
                    "nothing is wrong with what is on disk"
                ) from error
            if not is_corruption(error):
                raise StateUnusable(_why(path, error)) from error
            self._set_aside(path, str(error))
            store._db_for_partition(partition)
        return store

    def begin_anew(self, place: TopicPartition) -> None:
        """Move a table aside whose changelog lost rows that it has; it is opened anew, empty."""
        store = self._stores[place.topic]()
        path = Path(store.partition_path(place.partition))
        store._dbs.pop(place.partition, None)
        aside = aside_of(path, "lost")
        path.rename(aside)
        self._on_lost_tail(place.topic)
        log.warning(
            "local files hold rows that Kafka has lost, and others stand in their place: the files "
            "were moved aside and are restored from Kafka; find out why Kafka lost them, then "
            "delete them: topic=%s partition=%d path=%s",
            place.topic, place.partition, aside,
        )  # fmt: skip

    def _set_aside(self, path: Path, why: str) -> None:
        aside = aside_of(path, "damaged")
        if path.exists():
            path.rename(aside)
        _mark_of(path).unlink(missing_ok=True)
        log.warning(
            "local files are damaged and were moved aside, their rows are restored from Kafka; "
            "look at the disk, then delete them: path=%s why=%s",
            aside, why,
        )  # fmt: skip

    def _damaged(self, table: LocalPartition, error: StateUnusable) -> None:
        # moved aside at the next start: here others may be reading
        _mark_of(Path(table.store.partition_path(table.partition))).touch()
        self._on_damage(error)


def _mark_of(path: Path) -> Path:
    return path.with_name(path.name + _MARK)


def _why(path: Path, error: Exception) -> str:
    if "lock" in str(error).lower():
        return (
            f"{path} must belong to this worker alone, but another process has it open: {error}. "
            "Give each worker a data directory of its own (BARSTREAM_DATA_DIR), or stop the other"
        )
    return (
        f"{path} must be readable and writable, but RocksDB says: {error}. Look at the disk, its "
        f"space and permissions; all is restored from Kafka when the files are moved away: "
        f"mv {path} {path}.away"
    )
