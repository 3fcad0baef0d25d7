"""What is asked of the consumer by a scrape, at any time of its life."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from barstream.transport.driver import ConsumerThread

PLACE = TP("ticks", 0)


def thread(consumer: Any) -> ConsumerThread:
    made = object.__new__(ConsumerThread)
    made._consumer = consumer
    return made


def consumer(assignment: Any, coordinator: Any) -> Any:
    subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))
    return SimpleNamespace(_subscription=subscription, _coordinator=coordinator)


@pytest.mark.parametrize(
    "asked",
    [
        None,
        consumer(None, None),
        SimpleNamespace(_subscription=SimpleNamespace(subscription=None), _coordinator=None),
        consumer(SimpleNamespace(state_value={}.get), None),
    ],
    ids=["not made", "not assigned", "not subscribed", "of another partition"],
)
def test_nothing_is_known_before_and_after_an_assignment(asked: Any) -> None:
    made = thread(asked)
    assert (made.highwater(PLACE), made.topic_partitions("ticks")) == (0, None)


def test_the_end_is_that_of_the_last_fetch() -> None:
    states = {PLACE: SimpleNamespace(highwater=7), TP("ticks", 1): SimpleNamespace(highwater=None)}
    snapshot = SimpleNamespace(_metadata_snapshot={"ticks": 2})
    made = thread(consumer(SimpleNamespace(state_value=states.get), snapshot))
    assert (made.highwater(PLACE), made.highwater(TP("ticks", 1))) == (7, 0)
    assert made.topic_partitions("ticks") == 2
