"""An event in its two spellings."""

from __future__ import annotations

import json

import pytest

from barstream.stream.cursor import Cursor, TopicPlace
from barstream.stream.event import StreamEvent

CURSOR = Cursor(1, {"1m": TopicPlace(None, (3,))})


def test_a_server_sent_event_has_its_id_only_where_a_client_may_go_on() -> None:
    event = StreamEvent("bar", b'{"a":1}')
    assert event.server_sent() == b'event: bar\ndata: {"a":1}\n\n'
    assert event._replace(cursor=CURSOR).server_sent() == (
        f'event: bar\ndata: {{"a":1}}\nid: {CURSOR}\n\n'.encode()
    )


@pytest.mark.parametrize("data", [{}, {"a": 1}])
def test_a_line_of_json_is_the_same_object_with_its_type_and_id(data: dict[str, int]) -> None:
    event = StreamEvent("shutdown", json.dumps(data).encode())
    assert json.loads(event.json_line()) == {"type": "shutdown", **data}
    line = event._replace(cursor=CURSOR).json_line()
    assert json.loads(line) == {"type": "shutdown", "id": str(CURSOR), **data}
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
