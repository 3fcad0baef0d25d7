"""The lines of a worker's log: what they look like, and whose they are."""

from __future__ import annotations

import io
import logging
import re
import threading
from collections.abc import Iterator

import pytest
from aiohttp.http_exceptions import BadHttpMessage

from barstream.errors import BarstreamError
from barstream.runtime.worker_log import (
    LIBRARIES,
    OURS,
    LineFormatter,
    configure,
    is_routine,
    wants_colour,
)


def line(
    message: str,
    *args: object,
    level: int = logging.INFO,
    name: str = "barstream.worker",
    error: BaseException | None = None,
    formatter: LineFormatter | None = None,
) -> str:
    raised = None if error is None else (type(error), error, error.__traceback__)
    record = logging.LogRecord(name, level, __file__, 1, message, args, raised)
    record.created = 1_796_667_606.789
    return (formatter or LineFormatter()).format(record)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except type(error) as caught:
        return caught


def test_a_line_is_time_in_utc_level_and_sentence() -> None:
    assert line("ready after %s", "2.6 s") == "2026-12-07 18:20:06Z info    ready after 2.6 s"
    assert line("wrong", level=logging.WARNING) == "2026-12-07 18:20:06Z warning wrong"


def test_a_line_of_a_library_names_it() -> None:
    assert line("odd", name="aiokafka.conn").endswith(" info    odd logger=aiokafka.conn")
    assert not line("odd", name="agents.bars").endswith("agents.bars")
    assert line("odd", formatter=LineFormatter(loggers=True)).endswith("logger=barstream.worker")


def test_only_the_first_line_of_a_record_begins_with_a_time() -> None:
    first, *rest = line("topics are wrong:\n  one\n2026-01-01 00:00:00Z info forged").splitlines()
    assert first.endswith("topics are wrong:")
    assert [each[:4] for each in rest] == ["    ", "    "]


OF_OTHERS = [
    ("EUR\n2026-01-01 00:00:00Z info    forged", r"EUR\n2026-01-01 00:00:00Z info    forged"),
    ("a\rforged", r"a\rforged"),
    ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
    ("a\x85b\u2028c\x1dd", r"a\x85b\u2028c\x1dd"),
    ("\u202eUSDRUE\u200b", r"\u202eUSDRUE\u200b"),
    ("\x00\x7f\x9b", r"\x00\x7f\x9b"),
    ("bad \udcff byte", r"bad \udcff byte"),
]


@pytest.mark.parametrize(("value", "shown"), OF_OTHERS)
def test_names_of_others_can_make_neither_lines_nor_what_a_terminal_does(
    value: str, shown: str
) -> None:
    said = line("A request failed. path=%s", value)
    assert said == f"2026-12-07 18:20:06Z info    A request failed. path={shown}"
    assert line("odd path=%(path)s", {"path": value}).endswith(f"odd path={shown}")
    # put into the sentence by a library, and into errors: lines are indented, all else is shown
    for each in (line(value), line("failed", error=raised(ValueError(value)))):
        first, *below = each.split("\n")
        assert first.startswith("2026-12-07 18:20:06Z info    ")
        assert all(line_below.startswith("    ") for line_below in below)
        assert all(line_of.isprintable() for line_of in (first, *below))


def test_names_of_any_script_stay_as_they_are() -> None:
    assert line("symbol=%s", "Ørsted 東京 €").endswith("symbol=Ørsted 東京 €")


def test_what_a_service_of_mode_says_is_put_in_plain_words() -> None:
    said = line("[^---Recovery]: %s", "Worker ready", name="faust.tables.recovery")
    assert " Recovery: Worker ready " in said


def test_an_error_that_nobody_expected_keeps_its_trace_once() -> None:
    formatter, error = LineFormatter(), raised(ValueError("no such thing"))
    shown = line("flush failed", error=error, formatter=formatter).splitlines()
    assert shown[1] == "    Traceback (most recent call last):"
    assert shown[-1] == "    ValueError: no such thing"
    again = line("the worker crashed", error=error, formatter=formatter)
    assert again.endswith("info    the worker crashed: no such thing")


def test_an_error_that_says_what_to_do_needs_no_trace() -> None:
    error = raised(BarstreamError("do this\nthen that"))
    shown = line("rebalance failed", error=error)
    assert shown.splitlines()[0].endswith("rebalance failed: do this")
    assert shown.splitlines()[1:] == ["    then that"]
    assert "Traceback" in line("x", error=error, formatter=LineFormatter(traces=True))


def test_levels_are_coloured_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert not wants_colour(io.StringIO())
    assert wants_colour(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_colour(Terminal())
    coloured = line("x", formatter=LineFormatter(colour=True))
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == line("x") != coloured


@pytest.mark.parametrize(
    ("text", "error", "routine"),
    [
        ("Error handling request from %s", BadHttpMessage("Invalid header"), True),
        ("Error handling request from %s", ValueError("ours"), False),
        ("[^-Consumer]: Error while stopping child %r", RuntimeError("Event loop is closed"), True),
        ("[^-Consumer]: Error while stopping child %r", RuntimeError("other"), False),
    ],
)
def test_malformed_requests_and_threads_that_have_ended_are_no_news(
    text: str, error: Exception, routine: bool
) -> None:
    raised_by = (type(error), raised(error), error.__traceback__)
    made = logging.LogRecord("lib", logging.ERROR, __file__, 1, text, ("x",), raised_by)
    assert is_routine(made) is routine


@pytest.fixture
def logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    names = (*OURS, *LIBRARIES, "mode.timers")
    before = list(root.handlers), root.level, threading.excepthook
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in before[0]:
        root.addHandler(handler)
    root.setLevel(before[1])
    threading.excepthook = before[2]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


SAID = {
    "debug": ["bars.debug", "bars.info", "bars.warning", "aiokafka.debug", "aiokafka.info",
              "aiokafka.warning", "mode.info", "of Faust", "routine", "moved"],
    "info": ["bars.info", "bars.warning", "aiokafka.warning"],
    "warning": ["bars.warning", "aiokafka.warning"],
    "error": [],
}  # fmt: skip


@pytest.mark.usefixtures("logging_restored")
@pytest.mark.parametrize("loglevel", SAID)
def test_a_level_shows_ours_and_the_warnings_of_libraries(loglevel: str) -> None:
    out = io.StringIO()
    configure(loglevel, out)
    for name in ("bars", "aiokafka"):
        log = logging.getLogger(f"barstream.{name}" if name == "bars" else f"{name}.conn")
        log.debug("%s.debug", name)
        log.info("%s.info", name)
        log.warning("%s.warning", name)
    logging.getLogger("mode.services").info("mode.info")
    logging.getLogger("mode.timers").debug("aiokafka.debug of a look at the clock")
    # services of Faust that are ours are told of under our names
    logging.getLogger("barstream.runtime.schedule").info("[^--ScheduleService]: of Faust")
    logging.getLogger("aiokafka.consumer.group_coordinator").warning(
        "Heartbeat failed for group %s because it is rebalancing", "routine"
    )
    logging.getLogger("aiokafka.consumer.group_coordinator").warning(
        "Marking the coordinator dead (node %s)for group %s.", 1, "moved"
    )
    shown = [part for each in out.getvalue().splitlines() for part in SAID["debug"] if part in each]
    assert shown == SAID[loglevel]


@pytest.mark.usefixtures("logging_restored")
def test_an_error_of_ours_is_not_told_by_every_service_it_ends() -> None:
    out = io.StringIO()
    configure("info", out)
    error = raised(BarstreamError("do this"))
    log = logging.getLogger("barstream.runtime.app")
    log.error("[^-BarstreamApp]: Crashed reason=%r", error)
    log.error("[^-App]: Crashed reason=%r", ValueError("a defect"))
    log.error("worker stopped: %s", error)
    assert [each.split(maxsplit=3)[3] for each in out.getvalue().splitlines()] == [
        "App: Crashed reason=ValueError('a defect')",
        "worker stopped: do this",
    ]


@pytest.mark.usefixtures("logging_restored")
def test_a_thread_that_fails_is_told_in_the_log() -> None:
    out = io.StringIO()
    configure("info", out)
    thread = threading.Thread(target=lambda: int("none"), name="reading")
    thread.start()
    thread.join()
    first, *rest = out.getvalue().splitlines()
    assert "error   a thread ended by a failure: <Thread(reading" in first
    assert rest[-1].startswith("    ValueError: ")
