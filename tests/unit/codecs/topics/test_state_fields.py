"""One list of what a partition remembers of a series: schema and state are held to it."""

from __future__ import annotations

from dataclasses import fields

from barstream.codecs.avro.body import load_schema
from barstream.codecs.topics.series_seen import decode, encode
from barstream.codecs.topics.state_fields import (
    EXACT,
    OPEN_BAR_FIELDS,
    OPEN_BAR_NAMES,
    SERIES_FIELDS,
)
from barstream.market.universe import SeriesSeen
from barstream.model.bar import PartialBar
from barstream.rules.series import PartitionState, Rules, SeriesState

#: What follows from the rest, or is no value.
FOLLOWS = {"slot", "open_bars", "schedule", "session", "asleep_us", "filled_until_us"}


def test_the_schema_has_them_in_this_order() -> None:
    version, *named, bars = load_schema("series_state")["fields"]
    assert (version["name"], bars["name"]) == ("row_version", "open_bars")
    assert [field["name"] for field in named] == [field.name for field in SERIES_FIELDS]
    items = bars["type"]["items"]["fields"]
    assert [field["name"] for field in items] == list(OPEN_BAR_NAMES)
    # rows of many series are put together of what lies around these
    at = OPEN_BAR_NAMES.index(EXACT[0])
    assert OPEN_BAR_NAMES[at : at + len(EXACT)] == EXACT


def test_the_state_of_a_series_is_written_whole() -> None:
    """A value that is remembered and not written is another one after a restart."""
    own = {field.attribute for field in SERIES_FIELDS if not field.is_column}
    assert own == {field.name for field in fields(SeriesState)} - FOLLOWS
    state = PartitionState(Rules())
    assert all(
        len(getattr(state, field.attribute)) == 0 for field in SERIES_FIELDS if field.is_column
    )


def test_an_open_bar_is_written_whole_in_this_order() -> None:
    assert [attribute for _, attribute in OPEN_BAR_FIELDS] == [
        field.name for field in fields(PartialBar)
    ]


def test_a_row_of_the_universe_is_written_whole() -> None:
    names = [field["name"] for field in load_schema("series_seen")["fields"]]
    row = SeriesSeen("B", "X", 3, 60_000_000, 19_675, True, 120_000_000)
    assert decode(encode(row)) == row
    assert len(names) == len(SeriesSeen._fields)
