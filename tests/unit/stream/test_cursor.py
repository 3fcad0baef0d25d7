"""A cursor comes back as it went, or not at all; and one that cannot be gone on from says why."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barstream.stream.cursor import Cursor, CursorError, TopicHeld, TopicPlace

ID = str(UUID(int=7))
OTHER = str(UUID(int=8))

offsets = st.integers(min_value=0, max_value=2**63 - 1)
places = st.builds(
    TopicPlace,
    st.none() | st.integers(min_value=1, max_value=2**128 - 1).map(lambda n: str(UUID(int=n))),
    st.lists(offsets, max_size=6).map(tuple),
)
cursors = st.builds(
    Cursor, offsets, st.dictionaries(st.sampled_from(["1m", "5m", "1h@session"]), places)
)


@given(cursors)
def test_a_cursor_is_read_as_it_was_written(cursor: Cursor) -> None:
    text = str(cursor)
    assert Cursor.parse(text) == cursor
    assert all(letter.isalnum() or letter in "-_" for letter in text)


@given(cursors, st.data())
def test_a_cursor_that_was_changed_or_cut_is_refused(cursor: Cursor, data: st.DataObject) -> None:
    text = str(cursor)
    whole = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    at = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(1, 255))
    changed = whole[:at] + bytes([whole[at] ^ other]) + whole[at + 1 :]
    for bad in (changed, whole[:at]):
        with pytest.raises(CursorError):
            Cursor.parse(base64.urlsafe_b64encode(bad).rstrip(b"=").decode())


@pytest.mark.parametrize("text", ["", "abc", "42", "ä", "a" * 300_000, "????", "AAAAAAAA"])
def test_what_is_no_cursor_is_refused_in_a_sentence_of_bounded_length(text: str) -> None:
    with pytest.raises(CursorError, match="must be the id of an event") as caught:
        Cursor.parse(text)
    assert len(str(caught.value)) < 300


def held(topic_id: str | None = ID, first: int = 10, end: int = 20) -> dict[str, TopicHeld]:
    return {"1m": TopicHeld(topic_id, (0, first), (5, end))}


def at(offset: int, topic_id: str | None = ID, since_us: int = 100) -> Cursor:
    return Cursor(since_us, {"1m": TopicPlace(topic_id, (5, offset))})


def test_a_cursor_is_gone_on_from_wherever_the_topic_still_has_what_follows() -> None:
    assert [at(offset).reset_reason(held(), 100) for offset in (10, 15, 20)] == [None] * 3


@pytest.mark.parametrize(
    ("cursor", "why"),
    [
        (at(9), "too_old"),
        (at(21), "future"),
        (at(15, OTHER), "topic_made_anew"),
        (at(21, OTHER), "topic_made_anew"),
        (Cursor(100, {"1m": TopicPlace(ID, (5,))}), "topic_made_anew"),
    ],
)
def test_why_a_cursor_cannot_be_gone_on_from(cursor: Cursor, why: str) -> None:
    assert cursor.reset_reason(held(), 100) == why


def test_a_cursor_older_than_withdrawals_are_kept_begins_anew_although_its_offset_is_held() -> None:
    """Compaction takes the tombstone; the bar that the client has would stand for ever."""
    assert at(15, since_us=99).reset_reason(held(), 100) == "too_old"


@pytest.mark.parametrize(("ours", "theirs"), [(None, ID), (ID, None), (None, None)])
def test_a_broker_without_identities_is_taken_by_its_offsets(
    ours: str | None, theirs: str | None
) -> None:
    assert at(15, ours).reset_reason(held(theirs), 100) is None
    assert at(21, ours).reset_reason(held(theirs), 100) == "future"


def test_a_cursor_of_other_timeframes_is_an_error_and_no_reset() -> None:
    with pytest.raises(CursorError, match="timeframe 5m is required, found one of 1m"):
        at(15).reset_reason({"5m": held()["1m"]}, 100)
