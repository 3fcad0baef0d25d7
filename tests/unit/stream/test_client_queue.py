"""What waits for a client: bounded, finals whole and in order, of open bars the newest."""

from __future__ import annotations

from barstream.stream.client_queue import ClientQueue
from barstream.stream.cursor import Cursor, TopicPlace
from barstream.stream.event import StreamEvent
from barstream.stream.position import StreamRecord

EURUSD = "FX", "EURUSD"
GBPUSD = "FX", "GBPUSD"


def cursor(offset: int) -> Cursor:
    return Cursor(0, {"1m": TopicPlace(None, (offset,))})


def final(offset: int, bucket_us: int, series: tuple[str, str] = EURUSD) -> StreamRecord:
    return StreamRecord(offset, series, bucket_us, StreamEvent("bar", b"%09d." % offset))


def live(text: bytes) -> StreamEvent:
    return StreamEvent("bar", text)


def drained(queue: ClientQueue) -> list[StreamEvent]:
    return list(iter(queue.pop, None))


def test_the_last_event_of_a_span_alone_names_the_cursor() -> None:
    queue = ClientQueue(cursor(0), 1000)
    queue.put_finals("1m", [final(0, 0), final(1, 60)], cursor(3))
    assert [event.cursor for event in drained(queue)] == [None, cursor(3)]
    assert queue.cursor == cursor(3)


def test_a_span_without_a_record_for_this_client_still_moves_its_cursor() -> None:
    queue = ClientQueue(cursor(0), 1000)
    queue.put_finals("1m", [], cursor(3))
    assert queue.cursor == cursor(3)
    queue.put_finals("1m", [final(3, 0)], cursor(4))
    queue.put_finals("1m", [], cursor(9))
    assert queue.cursor == cursor(3)
    assert [event.cursor for event in drained(queue)] == [cursor(9)]


def test_a_reader_that_stops_is_told_where_it_was_and_given_no_more() -> None:
    queue = ClientQueue(cursor(0), 35)
    queue.put_finals("1m", [final(0, 0), final(1, 60)], cursor(2))
    assert queue.pop() is not None
    queue.put_finals("1m", [final(2, 120), final(3, 180)], cursor(4))
    assert len(queue) == 3
    queue.put_finals("1m", [final(4, 240)], cursor(5))
    queue.put_finals("1m", [final(5, 300)], cursor(6))
    queue.put_live("1m", EURUSD, 360, live(b"open"))
    # offset 1 was not handed out: the cursor is that of the span before it
    assert drained(queue) == [StreamEvent("too_slow", b"{}", cursor(0))]


def test_what_was_handed_out_makes_room() -> None:
    queue = ClientQueue(cursor(0), 10)
    for offset in range(100):
        queue.put_finals("1m", [final(offset, 60 * offset)], cursor(offset + 1))
        assert queue.pop() == final(offset, 0).event._replace(cursor=cursor(offset + 1))


def test_the_first_end_counts() -> None:
    queue = ClientQueue(cursor(7), 10)
    queue.end("shutdown")
    queue.end("too_slow")
    assert drained(queue) == [StreamEvent("shutdown", b"{}", cursor(7))]
    queue.end("too_slow")
    assert drained(queue) == []
    assert queue.is_ended


def test_of_an_open_bar_the_newest_waits_after_the_finals() -> None:
    queue = ClientQueue(cursor(0), 1000)
    queue.put_live("1m", EURUSD, 60, live(b"1"))
    queue.put_live("1m", GBPUSD, 60, live(b"2"))
    queue.put_live("1m", EURUSD, 60, live(b"3"))
    queue.put_finals("1m", [final(0, 0)], cursor(1))
    assert [event.data for event in drained(queue)] == [b"000000000.", b"3", b"2"]


def test_no_open_bar_follows_its_final() -> None:
    queue = ClientQueue(cursor(0), 1000)
    queue.put_live("1m", EURUSD, 60, live(b"waits"))
    queue.put_live("5m", EURUSD, 0, live(b"other period"))
    queue.put_finals("1m", [final(0, 60)], cursor(1))
    queue.put_live("1m", EURUSD, 60, live(b"late"))
    # a revision of an earlier bucket opens nothing again
    queue.put_finals("1m", [final(1, 0)], cursor(2))
    queue.put_live("1m", EURUSD, 60, live(b"late"))
    assert [event.data for event in drained(queue)][2:] == [b"other period"]
    queue.put_live("1m", EURUSD, 120, live(b"next"))
    assert [event.data for event in drained(queue)] == [b"next"]
