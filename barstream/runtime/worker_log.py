"""How a worker's log looks: a line a fact, with time, level and sentence, on stderr.

Faust would configure logging itself and say what each of its services does; here its lines, those
of mode and of aiokafka begin at warning, unless everything is asked for.  What repeats is left to
`barstream.kafka.troubles`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, TextIO

from aiohttp.http_exceptions import HttpProcessingError

from barstream.errors import BarstreamError
from barstream.kafka.troubles import Troubles

log = logging.getLogger(__name__)

#: What logs for us; code of a pipeline's own goes by the same level.
OURS: Final = ("barstream", "agents", "tables")
#: Their information is of use to who debugs them, and to nobody else.
LIBRARIES: Final = (
    "faust", "mode", "aiokafka", "aiohttp", "asyncio", "concurrent", "rocksdict", "urllib3",
)  # fmt: skip

#: Says changes alone, so that none of it is a repetition.
_NEWS: Final = ("barstream.runtime.lifecycle",)
_COLOURS: Final = {
    logging.DEBUG: "\x1b[2m",
    logging.INFO: "\x1b[32m",
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
_PLAIN: Final = "\x1b[0m"
_INDENT: Final = "    "
#: Errors of which the trace was shown; a crash is reported by every service it passes.
_TRACES_KEPT: Final = 16
#: How a service of mode begins what it says; ours are such services, so it stands under our names.
_SERVICE: Final = "[^"
#: Of libraries, as warning or worse, and yet no news: the worker says it in its own words, or
#: nothing has happened.
_ROUTINE: Final = (
    "Heartbeat failed for group %s because it is rebalancing",
    "We experienced a crash! Reraising original exception...",
)
_ROUTINE_BEGINNINGS: Final = (
    # a client that an error kept from being closed goes with the process; the error is shown
    "Unclosed AIOKafka",
    # it asks who the new one is; that brokers are away, or have none, is what matters
    "Marking the coordinator dead",
)
#: How aiohttp begins what it says, with a trace, of a client that does not speak HTTP.
_MALFORMED: Final = "Error handling request from "
#: A thread of mode that has ended by itself is told to end.
_STOPPING: Final = "Error while stopping child"
_LOOP_CLOSED: Final = "Event loop is closed"


class LineFormatter(logging.Formatter):
    """``2026-11-29 18:26:46Z info    a sentence key=value``, times in UTC.

    What follows the first line of a record is indented, so that every line that begins with a
    time begins a record; and what is not printable is shown as Python writes it, because names,
    paths and headers are of others: neither a line nor what a terminal does is theirs to make.
    An error of ours says what to do and is shown without a trace, and a trace is shown once.

    Args:
        colour: whether the level is coloured.
        traces: whether every trace is shown.
        loggers: whether every line names its logger; else only those of libraries do.
    """

    def __init__(
        self, *, colour: bool = False, traces: bool = False, loggers: bool = False
    ) -> None:
        super().__init__()
        self._colour = colour
        self._traces = traces
        self._loggers = loggers
        self._shown: deque[BaseException] = deque(maxlen=_TRACES_KEPT)

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the lines below it."""
        when = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(record.created))
        level = f"{record.levelname.lower():<7}"
        if self._colour:
            level = f"{_COLOURS.get(record.levelno, '')}{level}{_PLAIN}"
        sentence, *below = [*self._said(record)]
        if self._loggers or not is_ours(record.name):
            sentence = f"{sentence} logger={record.name}"
        shown = [f"{when} {level} {escaped(sentence)}"]
        return "\n".join([*shown, *(f"{_INDENT}{escaped(line)}" for line in below)])

    def _said(self, record: logging.LogRecord) -> Iterator[str]:
        first, *rest = _lines(_message(record).strip())
        if first.startswith(_SERVICE):
            first = first.removeprefix(_SERVICE).lstrip("-").replace("]: ", ": ", 1)
        raised = record.exc_info or (None, None, None)
        error = raised[1]
        if error is None:
            yield first
            yield from rest
        elif self._traces or self._is_news(error):
            self._shown.append(error)
            yield first
            yield from rest
            yield from _lines(self.formatException(raised))
        else:
            said, *more = _lines(str(error) or type(error).__name__)
            yield f"{first}: {said}" if said not in first else first
            yield from rest
            yield from more
        if record.stack_info:
            yield from _lines(record.stack_info)

    def _is_news(self, error: BaseException) -> bool:
        return not isinstance(error, BarstreamError) and not any(
            error is shown for shown in self._shown
        )


def escaped(text: str) -> str:
    r"""``text`` with what is not printable as Python writes it: ``\n``, ``\x1b``, ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _message(record: logging.LogRecord) -> str:
    """What is said; a text that is put in is one line, an error may be several."""
    text = str(record.msg)
    if not record.args:
        return text
    if isinstance(record.args, tuple):
        return text % tuple(map(_value, record.args))
    return text % {name: _value(value) for name, value in record.args.items()}


def _value(value: Any) -> Any:
    return escaped(value) if isinstance(value, str) else value


def _lines(text: str) -> list[str]:
    """As they were made: what else ends a line for Python is not ours."""
    return [line.removesuffix("\r") for line in text.split("\n")]


def is_ours(name: str) -> bool:
    """Whether a logger is one of ours."""
    return name.partition(".")[0] in OURS


def is_routine(record: logging.LogRecord) -> bool:
    """Whether a record is shown only where everything is: what libraries say of themselves."""
    text = str(record.msg)
    if record.levelno < logging.WARNING:
        return text.startswith(_SERVICE)
    if text.endswith(_ROUTINE) or text.startswith(_ROUTINE_BEGINNINGS):
        return True
    raised = record.exc_info[1] if record.exc_info else None
    if text.startswith(_MALFORMED) and isinstance(raised, HttpProcessingError):
        return True  # it was told so (400), and anybody could fill the log with it
    if _STOPPING in text and isinstance(raised, RuntimeError) and str(raised) == _LOOP_CLOSED:
        return True
    # one of ours that ends the worker is its last word; on its way there every service tells it
    args = record.args if isinstance(record.args, tuple) else ()
    errors = [*args, raised]
    return any(isinstance(error, BarstreamError) for error in errors) and text.startswith(
        (_SERVICE, "Error: ")
    )


def configure(loglevel: str, stream: TextIO | None = None) -> Troubles:
    """Send what this process logs to ``stream``, in place of how logging is configured by now.

    Args:
        loglevel: ``info``: ours, and warnings of libraries; ``debug``: everything;
            ``warning``, ``error``: that and worse.
        stream: stderr by default.

    Returns:
        What holds back repetitions; to be told the time, and closed at the end.
    """
    out = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping()[loglevel.upper()]
    everything = level <= logging.DEBUG
    lines = logging.StreamHandler(out)
    # what writes lines of another form goes here
    lines.setFormatter(
        LineFormatter(colour=wants_colour(out), traces=everything, loggers=everything)
    )
    troubles = Troubles(lines, show_all=everything, news=_NEWS)
    if not everything:
        troubles.addFilter(lambda record: not is_routine(record))
    root = logging.getLogger()
    for handler in tuple(root.handlers):
        root.removeHandler(handler)
    root.addHandler(troubles)
    root.setLevel(level)
    threading.excepthook = _thread_ended
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(
            logging.NOTSET if everything else max(level, logging.WARNING)
        )
    # a timer tells each time that it looks at the clock
    logging.getLogger("mode.timers").setLevel(max(level, logging.INFO))
    return troubles


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    """Python would write a trace between the lines, of what was only cancelled as well."""
    if ended.exc_value is None or isinstance(ended.exc_value, asyncio.CancelledError):
        log.debug("a thread was cancelled: %s", ended.thread)
    else:
        raised = (ended.exc_type, ended.exc_value, ended.exc_traceback)
        log.error("a thread ended by a failure: %s", ended.thread, exc_info=raised)


def wants_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal whose user did not say no (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
