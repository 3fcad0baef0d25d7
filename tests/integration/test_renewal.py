"""How long a producer may rest, as the brokers say."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from barstream.runtime import transactional_id
from tests.cluster import cluster_at

#: Kafka's default.
_SEVEN_DAYS_S: Final = 7 * 86_400.0


@pytest.mark.kafka
def test_the_rest_is_a_third_of_what_brokers_remember_and_a_day_at_most(
    kafka: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = cluster_at(kafka.bootstrap)

    assert asyncio.run(transactional_id._expiration_s(cluster)) == _SEVEN_DAYS_S
    assert asyncio.run(transactional_id.longest_rest_s(cluster)) == transactional_id._DAY_S
    monkeypatch.setattr(transactional_id, "_DAY_S", float("inf"))
    assert asyncio.run(transactional_id.longest_rest_s(cluster)) == _SEVEN_DAYS_S / 3


def test_it_is_an_hour_where_no_broker_tells() -> None:
    assert asyncio.run(transactional_id.longest_rest_s(cluster_at())) == 3600
