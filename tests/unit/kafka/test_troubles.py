"""A trouble is one line when it begins and one when it ends; the first of each kind is shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaTimeoutError,
    NodeNotReadyError,
)

from barstream.kafka.troubles import Troubles, kind_of

REFUSED = ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9092)")
AWAY = NodeNotReadyError("Attempt to send a request to node which is not ready (node id 1).")
CLIENT = "aiokafka"


class Lines(logging.Handler):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


class Log:
    """Troubles with a clock that is set, under loggers that reach nothing else."""

    def __init__(self, **options: Any) -> None:
        self.now_s = 1_000.0
        self.lines = Lines()
        self.troubles = Troubles(self.lines, clock=lambda: self.now_s, **options)

    def say(
        self, name: str, message: str, *args: Any, level: int = logging.WARNING, **more: Any
    ) -> None:
        error = more.get("error")
        raised = None if error is None else (type(error), error, error.__traceback__)
        self.troubles.handle(
            logging.LogRecord(name, level, __file__, 1, message, args, raised, None)
        )

    @property
    def said(self) -> list[str]:
        return self.lines.said


@pytest.fixture
def made() -> Iterator[Callable[..., Log]]:
    """A log whose own words come back to it, as with the root logger of a worker."""
    own = logging.getLogger("barstream.kafka.troubles")
    logs: list[Log] = []

    def make(**options: Any) -> Log:
        log = Log(**options)
        logs.append(log)
        own.addHandler(log.troubles)
        return log

    before = own.propagate, own.level
    own.propagate = False
    own.setLevel(logging.INFO)
    yield make
    for log in logs:
        own.removeHandler(log.troubles)
    own.propagate = before[0]
    own.setLevel(before[1])


@pytest.fixture
def log(made: Callable[..., Log]) -> Log:
    return made()


def clients_complain(log: Log, node: int = 1) -> None:
    """What ten times a second is said of a broker that is away."""
    log.say(f"{CLIENT}.client", "Unable connect to node with id %s: %s", node, REFUSED)
    log.say(f"{CLIENT}.client", "Unable to update metadata from %s", [node])
    log.say(f"{CLIENT}.consumer.fetcher", "Failed fetch messages from %s: %s", node, AWAY)
    log.say(f"{CLIENT}.consumer.group_coordinator", "Group Coordinator Request failed: %s", AWAY)


def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(log: Log) -> None:
    log.troubles.know({1: "kafka1:9092"})
    for _ in range(200):
        clients_complain(log)
        log.now_s += 0.1
    assert log.said == [
        "the broker kafka1:9092 does not answer, trying again error=connection refused"
    ]
    log.now_s += 2
    assert log.troubles.silent() == {1: "kafka1:9092"}
    log.troubles.answers(1)
    (end,) = log.said[1:]
    assert end.startswith("the broker kafka1:9092 answers again after 22 s")
    assert end.endswith(" (799 messages of the Kafka clients left out)")


def test_our_own_warnings_of_what_waits_for_a_broker_belong_to_its_outage(log: Log) -> None:
    clients_complain(log)
    log.say(
        "barstream.kafka.topic_follower",
        "broker trouble, still trying topic=%s error=%r",
        "t",
        AWAY,
    )
    log.say(
        "barstream.heartbeat.leader", "heartbeats not acknowledged error=%r", KafkaTimeoutError()
    )
    log.say(CLIENT, "Heartbeat session expired - marking coordinator dead")
    assert len(log.said) == 1
    log.troubles.answers(1)
    assert "6 messages" in log.said[1]


def lacks_a_coordinator(log: Log, seconds: float) -> None:
    """What a client says while it asks for the coordinator of its group."""
    for _ in range(round(seconds)):
        log.say(
            f"{CLIENT}.consumer.group_coordinator",
            "Group Coordinator Request failed: %s",
            GroupCoordinatorNotAvailableError(),
            level=logging.ERROR,
        )
        log.now_s += 1


def test_a_new_kafka_that_makes_the_topic_of_its_groups_is_no_trouble(log: Log) -> None:
    lacks_a_coordinator(log, 30)
    log.now_s += 100
    log.troubles.look()
    lacks_a_coordinator(log, 20)  # another one, and not the end of the first
    log.troubles.close()
    assert log.said == []


def test_a_group_that_gets_no_coordinator_is_one_line_at_each_end(log: Log) -> None:
    lacks_a_coordinator(log, 60)
    (begin,) = log.said
    assert begin.startswith(
        "the brokers have had no coordinator for the consumer group for 30 s, trying again: "
    )
    log.now_s += 20
    log.troubles.look()
    (end,) = log.said[1:]
    assert end == (
        "the consumer group has a coordinator again after 59 s "
        "(60 messages of the Kafka clients left out)"
    )
    log.troubles.close()
    assert len(log.said) == 2


def test_a_group_without_coordinator_is_told_at_the_end(log: Log) -> None:
    lacks_a_coordinator(log, 40)
    log.troubles.close()
    (end,) = log.said[1:]
    assert end == (
        "the consumer group has had no coordinator for 40 s "
        "(40 messages of the Kafka clients left out)"
    )


def test_each_broker_is_a_trouble_of_its_own(log: Log) -> None:
    clients_complain(log, 1)
    clients_complain(log, 2)
    assert [line.split(",")[0] for line in log.said] == [
        "the broker 1 does not answer",
        "the broker 2 does not answer",
    ]


def test_an_address_of_the_settings_is_the_broker_that_is_known_by_its_number(log: Log) -> None:
    log.troubles.know({7: "kafka1:9092"})
    log.say(CLIENT, 'Unable connect to "%s:%s": %s', "kafka1", 9092, REFUSED)
    log.say(CLIENT, "Unable connect to node with id %s: %s", 7, REFUSED)
    log.say(CLIENT, 'Unable connect to "%s:%s": %s', "kafka2", 9092, REFUSED)
    assert [line.split()[2] for line in log.said] == ["kafka1:9092", "kafka2:9092"]


def test_a_broker_that_is_away_is_asked_where_it_was(log: Log) -> None:
    """The brokers that are left do not name it any more."""
    log.troubles.know({1: "kafka1:9092", 2: "kafka2:9092"})
    log.say(CLIENT, "Unable connect to node with id %s: %s", 2, REFUSED)
    log.troubles.know({1: "kafka1:9092"})
    log.now_s += 5
    assert log.troubles.silent() == {2: "kafka2:9092"}


def test_what_is_wrong_beside_an_outage_is_shown(log: Log) -> None:
    clients_complain(log)
    log.say(CLIENT, "Topic %s is not authorized for this client", "ticks", level=logging.ERROR)
    log.say(
        CLIENT, "Group Coordinator Request failed: %s", GroupAuthorizationFailedError("fx"),
        level=logging.ERROR,
    )  # fmt: skip
    log.say("barstream.runtime.assignment", "flush failed: partition=%d", 1, level=logging.ERROR)
    assert len(log.said) == 4


def test_our_own_errors_are_shown_during_an_outage(log: Log) -> None:
    clients_complain(log)
    log.say("barstream.runtime.app", "rebalance failed", level=logging.ERROR, error=AWAY)
    assert log.said[-1] == "rebalance failed"


def test_a_broker_that_is_away_and_not_asked_any_more_hides_nothing(log: Log) -> None:
    log.troubles.know({1: "kafka1:9092"})
    clients_complain(log)  # of one that stays away, and that nobody needs any more
    log.now_s += 3_600
    log.say(
        "barstream.kafka.topic_follower",
        "broker trouble, still trying topic=%s error=%r",
        "t",
        AWAY,
    )
    assert log.said[-1].startswith("broker trouble")


def test_a_repeated_warning_is_counted_and_closed(log: Log) -> None:
    for count in range(15):
        log.say("barstream.runtime.tally", "ticks come too late; broker=%s late=%d", "FX", count)
        log.now_s += 10
    assert log.said == ["ticks come too late; broker=FX late=0"]
    log.now_s += 89
    log.troubles.look()
    closed = log.said[1:]
    assert len(closed) == 1
    assert closed[0].startswith("said 14 times more in 2 min, the last time at ")
    assert closed[0].endswith(": ticks come too late; broker=FX late=14")
    log.say("barstream.runtime.tally", "ticks come too late; broker=%s late=%d", "FX", 1)
    assert len(log.said) == 3, "it begins again"


def test_a_trouble_that_was_not_repeated_needs_no_end(log: Log) -> None:
    log.say("barstream.heartbeat.leader", "another worker leads now")
    log.now_s += 1_000
    log.troubles.look()
    assert log.said == ["another worker leads now"]


@pytest.mark.parametrize(
    ("message", "one", "other"),
    [
        ("flush failed: partition=%d", (1,), (2,)),
        ("broker trouble topic=%s error=%r", ("a", AWAY), ("b", AWAY)),
        ("not reloaded: error=%r", (OSError(),), (ValueError(),)),
        ("%s", ("topic a is wrong",), ("topic b is wrong",)),
        ("ticks come too late; broker=%s late=%d", ("A", 1), ("B", 1)),
    ],
)
def test_what_a_message_is_about_tells_troubles_apart(
    log: Log, message: str, one: tuple[Any, ...], other: tuple[Any, ...]
) -> None:
    for args in (one, other, one, other):
        log.say("barstream.x", message, *args)
    assert len(log.said) == 2


@pytest.mark.parametrize(
    ("message", "one", "other"),
    [
        ("heartbeats ignored: partition=%d count=%d", (1, 2), (1, 30)),
        ("a hint of %d rows at 0x7f21", (), ()),
        ("%s", ("offset 12 of 5",), ("offset 99 of 77",)),
    ],
)
def test_what_only_measures_does_not(
    log: Log, message: str, one: tuple[Any, ...], other: tuple[Any, ...]
) -> None:
    log.say("barstream.x", message, *one)
    log.say("barstream.x", message, *other)
    assert len(log.said) == 1


def test_errors_raised_in_different_places_are_different_troubles(log: Log) -> None:
    def fail(why: str) -> None:
        raise ValueError(why)

    def error_of(where: int) -> Exception:
        try:
            if where:
                int("none")
            fail("other")
        except ValueError as error:
            return error
        raise AssertionError

    for path, where in (("/bars/a", 0), ("/bars/b", 1), ("/bars/c", 0)):
        log.say("barstream.serve", "A request failed. path=%s", path, error=error_of(where))
    assert [line[-1] for line in log.said] == ["a", "b"]


def test_what_is_remembered_is_bounded_and_what_is_forgotten_was_said(
    made: Callable[..., Log],
) -> None:
    log = made(most=10)
    for number in range(1_000):
        for _ in range(2):
            log.say("barstream.x", "wrong partition=%d", number)
    assert len(log.troubles._repeating) == 10
    log.troubles.close()
    assert sum(line.startswith("wrong") for line in log.said) == 1_000
    assert sum(line.startswith("said 1 time more") for line in log.said) == 1_000


def test_what_has_not_ended_is_told_at_the_end(log: Log) -> None:
    clients_complain(log)
    log.now_s += 30
    log.troubles.close()
    assert log.said[-1] == (
        "the broker 1 has not answered for 30 s (3 messages of the Kafka clients left out)"
    )


def test_everything_is_shown_when_everything_is_asked_for(made: Callable[..., Log]) -> None:
    log = made(show_all=True)
    for _ in range(5):
        clients_complain(log)
    assert len(log.said) == 21


def test_news_and_changes_are_never_repetitions(made: Callable[..., Log]) -> None:
    log = made(news=["barstream.runtime.lifecycle"])
    for _ in range(3):
        log.say("barstream.runtime.lifecycle", "not ready: %s", "a rebalance")
        log.say("barstream.x", "caught up", level=logging.INFO)
    assert len(log.said) == 6


def test_a_record_of_odd_arguments_has_a_kind() -> None:
    for message, args in (("%(a)s", ({"a": 1},)), ("100 %", ()), ("%s %s", ("one",))):
        record = logging.LogRecord("x", logging.ERROR, "f", 1, message, args, None)
        assert kind_of(record)


def test_a_lost_bootstrap_is_no_broker_of_its_own(log: Log) -> None:
    lost = KafkaConnectionError("Unable to bootstrap from [('127.0.0.1', 9092)]")
    log.say(
        "barstream.kafka.topic_follower", "no broker yet, still trying topic=%s error=%r", "t", lost
    )
    assert log.said == [f"no broker yet, still trying topic=t error={lost!r}"]
