"""Graces that are named hold where the log says nothing, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

from barstream.log.rules import Regime, Regimes
from barstream.model.time import SECOND_US
from barstream.rules.series import Rules
from barstream.verify.graces import Graces
from barstream.verify.hours import AlwaysOpenHours, HoursIndex
from tests.property.verify_cases import rules_row


def test_a_grace_that_is_named_excuses_nothing_where_the_log_says_which_held() -> None:
    index: HoursIndex = AlwaysOpenHours()
    rules = rules_row(Rules(5 * SECOND_US))
    longer = replace(rules, grace_us=60 * SECOND_US)
    regimes = Regimes(
        [Regime(0, 0, rules, index, is_told=False), Regime(40, 7, longer, index)], index
    )
    assert Graces.in_force(regimes, [1 * SECOND_US]) == [
        Graces(1 * SECOND_US, 5 * SECOND_US), Graces(60 * SECOND_US, 60 * SECOND_US),
    ]  # fmt: skip
