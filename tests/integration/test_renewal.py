"""How long a producer may rest, as the brokers say."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from barstream.runtime import transactional_id

#: Kafka's default.
_SEVEN_DAYS_S: Final = 7 * 86_400.0


@pytest.mark.kafka
def test_the_rest_is_a_third_of_what_brokers_remember_and_a_day_at_most(
    kafka: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"bootstrap_servers": kafka.bootstrap}

    assert asyncio.run(transactional_id._expiration_s(options)) == _SEVEN_DAYS_S
    assert asyncio.run(transactional_id.longest_rest_s(options)) == transactional_id._DAY_S
    monkeypatch.setattr(transactional_id, "_DAY_S", float("inf"))
    assert asyncio.run(transactional_id.longest_rest_s(options)) == _SEVEN_DAYS_S / 3


def test_it_is_an_hour_where_no_broker_tells() -> None:
    options = {"bootstrap_servers": "127.0.0.1:9"}

    assert asyncio.run(transactional_id.longest_rest_s(options)) == 3600
