"""How the series of a partition stand in production, for what a switch-over writes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from barstream.codecs.topics.state import POSITION_KEY, decode_position, decode_series
from barstream.codecs.topics.withdrawal import (
    Withdrawn,
    decode_withdrawal,
    is_withdrawal_key,
)
from barstream.kafka.cluster import Cluster
from barstream.log.compaction import newest_values
from barstream.market.schedule import Series
from barstream.model.key import series_key
from barstream.replay.diff import Compare
from barstream.replay.errors import SwitchRefused
from barstream.replay.scope import Scope
from barstream.replay.shadow_topics import ShadowTopics
from barstream.rules.series import FOREVER_US, NEVER_US


@dataclass(frozen=True, slots=True)
class SeriesNow:
    """How a series stands; fields as in ``series_state.avsc``.

    Attributes:
        state: as it will be written, but for the last close.
        before: as it is; None: production never accepted a tick of it.
    """

    state: dict[str, Any]
    before: dict[str, Any] | None

    @property
    def is_new(self) -> bool:
        """Whether only the replay has it."""
        return self.before is None

    @property
    def closed_us(self) -> int:
        """Minutes before it are closed."""
        closed_us: int = self.state["closed_until"]
        return closed_us

    @property
    def first_tick_us(self) -> int:
        """Event time of the first tick."""
        first_us: int = self.state["first_tick"]
        return first_us


async def series_of(
    job: Compare, cluster: Cluster, scope: Scope
) -> tuple[dict[Series, SeriesNow], int]:
    """The series of a partition, and its position in the ticks; 0 where nothing was applied.

    One that only the replay has stands as the replay left it.  That state fits only where
    production is: a replay that ended before leaves such a series out.

    Raises:
        SwitchRefused: a series was dropped after the replay was made.
    """
    names = cluster.names
    rows = await newest_values(cluster, names.series, job.partition)
    shadow = await newest_values(cluster, ShadowTopics(names, job.suffix).scope, job.partition)
    row_of_position = rows.pop(POSITION_KEY, None)
    withdrawals = [decode_withdrawal(*row) for row in rows.items() if is_withdrawal_key(row[0])]
    refuse_withdrawn(scope, Withdrawn.of(withdrawals, job.partition))
    # no series begins with a NUL: rows that do are of the partition
    rows = {key: value for key, value in rows.items() if not key.startswith(b"\0")}
    position = 0 if row_of_position is None else decode_position(row_of_position).next_offset
    at_end = (
        row_of_position is not None
        and scope.derived.to_us == FOREVER_US
        and position == scope.derived.end
    )
    found: dict[Series, SeriesNow] = {}
    for name in scope.series:
        key = series_key(*name)
        derived = decode_series(shadow[key])
        if key in rows:
            row = decode_series(rows[key])
            # ticks that were refused before it was known are in bars now
            first_us = row["first_tick"]
            if derived["first_tick"] != NEVER_US:
                first_us = min(first_us, derived["first_tick"])
            found[name] = SeriesNow({**row, "first_tick": first_us}, row)
        elif at_end:
            found[name] = SeriesNow(derived, None)
    for value in rows.values():
        row = decode_series(value)
        found.setdefault((row["broker"], row["symbol"]), SeriesNow(row, row))
    return found, position


def refuse_withdrawn(scope: Scope, withdrawn: Withdrawn) -> None:
    """Refuse a replay from before a series was dropped: it has the bars that were withdrawn.

    Args:
        scope: of the replay.
        withdrawn: of its partition, now.

    Raises:
        SwitchRefused: it is one.
    """
    for name in scope.series:
        if scope.derived.end <= withdrawn.end(name).ticks:
            raise SwitchRefused(
                f"the replay must know that {' '.join(name)} was dropped, but it ends at offset "
                f"{scope.derived.end} of partition {scope.derived.partition}, and ticks of the "
                f"series below {withdrawn.end(name).ticks} were withdrawn since: make it anew with "
                "--again"
            )
