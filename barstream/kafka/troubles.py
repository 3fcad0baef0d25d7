"""What goes wrong is logged when it begins and when it ends, however often it is said between.

A broker that is away is one trouble, although every client of it says so ten times a second and
in many words: 2,850 lines in twenty seconds.  Everything else that is logged as a warning or worse
is told apart by logger, message and what it is about; the first of each kind is always shown.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    NodeNotReadyError,
    RequestTimedOutError,
)

from barstream.plurals import counted

log = logging.getLogger(__name__)

#: A trouble that was not heard of for so long has ended.
QUIET_S: Final = 90.0
#: A broker of which no client has complained for so long may be asked whether it answers.
ASK_AFTER_S: Final = 1.0
#: What follows from an outage is said while clients complain, or a little after.
_AFTERMATH_S: Final = 15.0
#: A new Kafka makes the topic of its groups when the first one comes, and a group moves with the
#: leader of its partition: no trouble before it lasts so long.
_NO_COORDINATOR_S: Final = 30.0
#: Kinds of trouble remembered at a time.
_MOST: Final = 500
_KAFKA: Final = "aiokafka"
#: How a client says, with an error of these kinds, that a broker is away.
_AWAY: Final = (NodeNotReadyError, KafkaConnectionError, RequestTimedOutError, OSError)
#: What clients say because of it, without such an error.
_FOLLOWS: Final = (
    "Unable to update metadata from %s",
    "Marking the coordinator dead",
    "Heartbeat session expired",
    "Heartbeat failed",
)
_NODE: Final = re.compile(r"\bnode(?: with)?(?: id)? (\d+)")
#: Fields of a message that say what it is about; the others measure it.
_ABOUT: Final = re.compile(r"\b(?:partition|topic|broker|timeframe|series|path)=?$")
_FIELD: Final = re.compile(r"%(?:\([^)]*\))?[-+ #0]*\d*(?:\.\d+)?([sdrgfi%])")
_VALUES: Final = re.compile(r"0x[0-9a-f]+|\d+")

#: A broker by its number, or by the address of the settings before the number is known.
Node = int | str


@dataclass(slots=True)
class _Trouble:
    """One that goes on: when it was heard of first and last, and what was left out since."""

    began_s: float
    last_s: float
    left_out: int = 0
    last: logging.LogRecord | None = None


class Troubles(logging.Handler):
    """Passes records on to another handler, without the repetitions.

    It has no clock that wakes it: `look` closes what has ended, and is called now and then.

    Args:
        to: writes the lines.
        clock: seconds, never going back.
        show_all: pass on the repetitions as well.
        quiet_s: a trouble that was not heard of for so long has ended.
        most: kinds remembered at a time; the one heard of longest ago is closed for another.
        news: loggers that say changes and nothing else: each of their records is passed on.
    """

    def __init__(
        self,
        to: logging.Handler,
        *,
        clock: Callable[[], float] = time.monotonic,
        show_all: bool = False,
        quiet_s: float = QUIET_S,
        most: int = _MOST,
        news: Collection[str] = (),
    ) -> None:
        super().__init__()
        self._addresses: Mapping[int, str] = {}
        self._to = to
        self._clock = clock
        self._show_all = show_all
        self._quiet_s = quiet_s
        self._most = most
        self._news = frozenset({__name__, *news})
        #: By kind, the one heard of longest ago first.
        self._repeating: dict[tuple[Any, ...], _Trouble] = {}
        self._away: dict[Node, _Trouble] = {}
        #: Since when the consumer group has no coordinator; said when it lasts.
        self._no_coordinator: _Trouble | None = None
        self._ended_s = -_AFTERMATH_S
        self._next_look_s = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it as one of a trouble that is known."""
        if record.levelno < logging.WARNING or record.name in self._news:
            self._to.handle(record)
            return
        now_s = self._clock()
        if now_s >= self._next_look_s:
            self._close_quiet(now_s)
        known = (
            self._is_of_outage(record, now_s)
            or self._is_of_coordinator(record, now_s)
            or self._is_repeated(record, now_s)
        )
        if not known or self._show_all:
            self._to.handle(record)

    def look(self) -> None:
        """Close what was not heard of for a while."""
        with self._held():
            self._close_quiet(self._clock())

    def know(self, brokers: Mapping[int, str]) -> None:
        """Learn ``host:port`` of brokers; one that is away is in no list, and is remembered."""
        self._addresses = {**self._addresses, **brokers}

    def silent(self) -> dict[Node, str | None]:
        """Brokers that are away, and of which nothing was heard: the address to ask each at."""
        with self._held():
            now_s = self._clock()
            return {
                node: self._address(node)
                for node, trouble in self._away.items()
                if now_s - trouble.last_s >= ASK_AFTER_S
            }

    def answers(self, node: Node) -> None:
        """A broker answers again."""
        with self._held():
            trouble = self._away.pop(node, None)
            if trouble is not None:
                self._ended_s = self._clock()
                log.warning(
                    "the broker %s answers again after %s (%s of the Kafka clients left out)",
                    self._named(node),
                    span(self._ended_s - trouble.began_s),
                    counted(trouble.left_out, "message"),
                )

    def close(self) -> None:
        """Say what was left out of what has not ended."""
        with self._held():
            now_s = self._clock()
            for node, trouble in self._away.items():
                log.warning(
                    "the broker %s has not answered for %s (%s of the Kafka clients left out)",
                    self._named(node),
                    span(now_s - trouble.began_s),
                    counted(trouble.left_out, "message"),
                )
            self._away.clear()
            if (lacking := self._take_coordinator()) is not None:
                log.warning(
                    "the consumer group has had no coordinator for %s (%s of the Kafka clients "
                    "left out)",
                    span(now_s - lacking.began_s),
                    counted(lacking.left_out, "message"),
                )
            for trouble in self._repeating.values():
                self._say_end(trouble)
            self._repeating.clear()
            self._to.flush()
        super().close()

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Its lock; records come from the thread of the consumer too."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def _is_of_outage(self, record: logging.LogRecord, now_s: float) -> bool:
        """Count it as one of an outage; the one that tells of it first is put in our words."""
        error = _error_of(record)
        away = isinstance(error, _AWAY)
        if not _is_of(record.name, _KAFKA):
            # ours: the work that waits for it.  Only what is tried again says no more than that
            waits = away or isinstance(error, KafkaError)
            return waits and record.levelno == logging.WARNING and self._counted(now_s)
        node = _node_of(record, self._addresses) if away else None
        if node is None:
            follows = away or _is_passing(error) or str(record.msg).startswith(_FOLLOWS)
            if follows and self._counted(now_s):
                return True
            return follows and not away and now_s - self._ended_s < _AFTERMATH_S
        if node in self._away:
            trouble = self._away[node]
            trouble.left_out += 1
            trouble.last_s = now_s
            return True
        self._away[node] = _Trouble(now_s, now_s)
        log.warning(
            "the broker %s does not answer, trying again error=%s", self._named(node), brief(error)
        )
        return True

    def _is_of_coordinator(self, record: logging.LogRecord, now_s: float) -> bool:
        """Count that the group has no coordinator yet; said once, when it lasts."""
        lacking = isinstance(_error_of(record), GroupCoordinatorNotAvailableError)
        if not lacking or not _is_of(record.name, _KAFKA):
            return False
        if self._no_coordinator is None:
            self._no_coordinator = _Trouble(now_s, now_s)
        trouble = self._no_coordinator
        was_said = _lasts(trouble)
        trouble.left_out += 1
        trouble.last_s = now_s
        if _lasts(trouble) and not was_said:
            log.warning(
                "the brokers have had no coordinator for the consumer group for %s, trying again: "
                "each partition of their topic __consumer_offsets must have a leader, and they "
                "must be as many as its replication factor to make it",
                span(now_s - trouble.began_s),
            )
        return True

    def _take_coordinator(self) -> _Trouble | None:
        """That trouble, which ends; None when there is none, or none that was said."""
        trouble, self._no_coordinator = self._no_coordinator, None
        return trouble if trouble is not None and _lasts(trouble) else None

    def _counted(self, now_s: float) -> bool:
        """Count something that names no broker, if one is away; says whether one is."""
        for trouble in self._away.values():
            if now_s - trouble.last_s < _AFTERMATH_S:
                trouble.left_out += 1
                return True
        return False

    def _address(self, node: Node) -> str | None:
        return node if isinstance(node, str) else self._addresses.get(node)

    def _named(self, node: Node) -> str:
        return self._address(node) or str(node)

    def _is_repeated(self, record: logging.LogRecord, now_s: float) -> bool:
        kind = kind_of(record)
        trouble = self._repeating.pop(kind, None)
        if trouble is None:
            if len(self._repeating) >= self._most:
                self._say_end(self._repeating.pop(next(iter(self._repeating))))
            self._repeating[kind] = _Trouble(now_s, now_s)
            return False
        trouble.left_out += 1
        trouble.last_s, trouble.last = now_s, record
        self._repeating[kind] = trouble  # at the end: heard of last
        return True

    def _close_quiet(self, now_s: float) -> None:
        self._next_look_s = now_s + 1.0
        for kind, trouble in tuple(self._repeating.items()):
            if now_s - trouble.last_s < self._quiet_s:
                break
            del self._repeating[kind]
            self._say_end(trouble)
        lacking = self._no_coordinator
        quiet = lacking is not None and now_s - lacking.last_s >= _AFTERMATH_S
        if quiet and (said := self._take_coordinator()) is not None:
            log.warning(
                "the consumer group has a coordinator again after %s (%s of the Kafka clients "
                "left out)",
                span(said.last_s - said.began_s),
                counted(said.left_out, "message"),
            )
        for node, trouble in tuple(self._away.items()):
            # one whose address nobody knows cannot be asked
            if self._address(node) is None and now_s - trouble.last_s >= self._quiet_s:
                self.answers(node)

    def _say_end(self, trouble: _Trouble) -> None:
        if trouble.last is not None:
            log.warning(
                "said %s more in %s, the last time at %s: %s",
                counted(trouble.left_out, "time"),
                span(trouble.last_s - trouble.began_s),
                time.strftime("%H:%M:%SZ", time.gmtime(trouble.last.created)),
                " ".join(trouble.last.getMessage().split()),
            )


def kind_of(record: logging.LogRecord) -> tuple[Any, ...]:
    """What tells one trouble from another: who says what, of what, because of which error.

    Numbers that measure (offsets, counts) do not; a partition, a topic or a broker does.
    """
    text = str(record.msg)
    about: tuple[Any, ...] = ()
    if record.args and isinstance(record.args, tuple):
        fields = [match for match in _FIELD.finditer(text) if match[1] != "%"]
        about = tuple(
            str(value)
            for field, value in zip(fields, record.args, strict=False)
            if isinstance(value, str | int)
            and _ABOUT.search(text[: field.start()])
            # of a request that failed it is the error that matters, and paths have no bound
            and not (record.exc_info and text[: field.start()].endswith("path="))
        )
        about += tuple(type(value) for value in record.args if isinstance(value, BaseException))
    else:
        text = _VALUES.sub("#", text)
    if text == "%s":
        text = _VALUES.sub("#", record.getMessage())
        about = ()
    return (record.name, record.levelno, text, about, _place_of(record))


def _place_of(record: logging.LogRecord) -> tuple[Any, ...]:
    """Type of the error that is shown with a record, and where it was raised."""
    if not record.exc_info or record.exc_info[1] is None:
        return ()
    trace = record.exc_info[2]
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = None if trace is None else (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    return (type(record.exc_info[1]), where)


def _is_of(name: str, library: str) -> bool:
    return name == library or name.startswith(f"{library}.")


def _error_of(record: logging.LogRecord) -> BaseException | None:
    for value in record.args if isinstance(record.args, tuple) else ():
        if isinstance(value, BaseException):
            return value
    return record.exc_info[1] if record.exc_info else None


def _is_passing(error: BaseException | None) -> bool:
    return isinstance(error, KafkaError) and bool(error.retriable)


def _node_of(record: logging.LogRecord, addresses: Mapping[int, str]) -> Node | None:
    """The broker a client complains of; None when it does not say."""
    args = record.args if isinstance(record.args, tuple) else ()
    if '"%s:%s"' in str(record.msg):
        address = f"{args[0]}:{args[1]}"
        return next((node for node, known in addresses.items() if known == address), address)
    for value in args:
        if isinstance(value, int) and not isinstance(value, bool | OSError):
            return value
    found = _NODE.search(record.getMessage())
    return None if found is None else int(found[1])


def brief(error: BaseException | None) -> str:
    """An error in a word or two."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError | RequestTimedOutError):
        return "no answer in time"
    if isinstance(error, NodeNotReadyError | KafkaConnectionError):
        return "no connection"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()


def _lasts(trouble: _Trouble) -> bool:
    """Whether the group has had no coordinator for so long that it is said."""
    return trouble.last_s - trouble.began_s >= _NO_COORDINATOR_S


def span(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min``, ``2.5 h``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"
