"""The rules of a replay: those that held at each place of the log, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from barstream.codecs.topics.rules import RulesRow
from barstream.log.rules import Regime, Regimes
from barstream.market.schedule import MarketScheduleProvider, ScheduleIndex
from barstream.partition.machine import PartitionMachine
from barstream.replay.heartbeats import Beats
from barstream.rules.series import Rules


class RulesInTurn:
    """Has an engine go on by other rules where the log says that the workers did.

    Args:
        regimes: the rules, and from where on they held.
        begin: the first offset of the replay.
        feed_delay_us: by broker.

    Attributes:
        provider: the schedule in force.
        number: of the regime in force.
    """

    def __init__(
        self, regimes: Regimes[ScheduleIndex], begin: int, feed_delay_us: Mapping[str, int]
    ) -> None:
        self._regimes = regimes
        self._feed_delay_us = feed_delay_us
        self.number = int(regimes.numbers(np.array([begin], np.int64))[0])
        self.provider = MarketScheduleProvider()
        self.provider.swap(self.regime.index)

    @property
    def regime(self) -> Regime[ScheduleIndex]:
        """The one in force."""
        return self._regimes.all[self.number]

    @property
    def row(self) -> RulesRow:
        """Its rules, as the log says them."""
        return self.regime.rules

    @property
    def rules(self) -> Rules:
        """Its rules, as an engine has them."""
        row = self.row
        return Rules(row.grace_us, row.inactive_after, self._feed_delay_us, row.late_policy)

    def reach(self, offset: int, engine: PartitionMachine, beats: Beats) -> Iterator[None]:
        """Change to what held from ``offset`` on; yields where the engine is to be flushed."""
        every = self._regimes.all
        while self.number + 1 < len(every) and every[self.number + 1].begin <= offset:
            beats.give(engine, every[self.number + 1].begin, self.number)
            engine.release()
            yield
            self.number += 1
            self.provider.swap(self.regime.index)
            engine.change_rules(self.rules, publish_off_session=self.row.publish_off_session)
            yield
