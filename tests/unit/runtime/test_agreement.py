"""Workers of one group that differ are told once, by name, and again when that changes."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import orjson
import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata

from barstream.config import load_settings
from barstream.kafka.consumer_group import Declaration, Member, _member
from barstream.runtime.agreement import Agreement

HERE = Declaration("1.0", {"bars.grace_s": "5.0", "bars.late_policy": '"reject"'})
ME = Member("b-here-1", "/10.0.0.1", "http://10.0.0.1:6066", HERE)
OTHER = Member("b-there-2", "/10.0.0.2", "http://10.0.0.2:6066", HERE)


class Watched:
    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.agreement = Agreement(ME.client, HERE)
        self._caplog = caplog

    def look(self, *members: Member) -> list[tuple[str, str]]:
        """Level and words of what a look brings."""
        self._caplog.clear()
        self.agreement.look([ME, *members])
        return [(each.levelname, each.getMessage()) for each in self._caplog.records]


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture) -> Watched:
    caplog.set_level(logging.INFO)
    return Watched(caplog)


def with_settings(member: Member, **settings: str) -> Member:
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return replace(member, declaration=Declaration("1.0", {**HERE.settings, **named}))


def test_nothing_is_said_of_workers_that_agree(watched: Watched) -> None:
    assert watched.look() == []
    assert watched.look(OTHER) == []
    assert watched.agreement.count("same") == 1


def test_another_setting_is_told_once_with_the_worker_and_both_values(watched: Watched) -> None:
    differs = with_settings(OTHER, bars__grace_s="7.0")
    ((level, said),) = watched.look(differs)
    assert level == "WARNING"
    assert said.endswith("http://10.0.0.2:6066 (b-there-2) has bars.grace_s 7.0, here 5.0")
    assert watched.agreement.count("other") == 1
    assert watched.look(differs) == []
    assert watched.look(differs, replace(OTHER, client="b-there-3")) == [], "one more that agrees"
    changed = with_settings(differs, bars__late_policy='"revise"')
    assert [level for level, _ in watched.look(changed)] == ["WARNING"]
    assert watched.look(OTHER) == [("INFO", "settings: no worker has others any more")]
    assert watched.look(OTHER) == []


def test_a_line_is_not_longer_than_a_few_workers_and_settings(watched: Watched) -> None:
    many = {f"bars.n{n}": "1" for n in range(9)}
    watched.agreement = Agreement(ME.client, Declaration("1.0", many))
    theirs = Declaration("1.0", dict.fromkeys(many, "2"))
    crowd = [Member(f"b-{n}", "/10.0.0.2", None, theirs) for n in range(50)]
    ((_, said),) = watched.look(*crowd)
    assert said.count(" has ") == 3
    assert said.endswith("and 4 more; 47 more")


def test_another_version_is_an_information_and_only_what_both_know_is_compared(
    watched: Watched,
) -> None:
    newer = replace(
        OTHER, declaration=Declaration("1.1", {"bars.grace_s": "5.0", "bars.max_series": "9"})
    )
    assert watched.look(newer) == [
        ("INFO", "versions: this worker is of 1.0, beside 1 worker of 1.1")
    ]
    assert watched.agreement.count("same") == 1
    assert watched.look(newer) == []
    assert watched.look(OTHER) == [("INFO", "versions: all workers are of 1.0")]


def test_a_version_that_tells_nothing_is_told_apart_from_one_that_agrees(watched: Watched) -> None:
    old = replace(OTHER, declaration=None)
    assert watched.look(old) == [
        (
            "INFO",
            "versions: this worker is of 1.0, beside 1 worker of a version that does not tell it",
        )
    ]
    assert (watched.agreement.count("unknown"), watched.agreement.count("same")) == (1, 0)


def test_the_last_one_that_differed_may_also_leave(watched: Watched) -> None:
    watched.look(with_settings(OTHER, bars__grace_s="7.0"))
    assert watched.look() == [("INFO", "settings: no worker has others any more")]


# -- as it travels --------------------------------------------------------------------------------


def joined(user_data: bytes) -> bytes:
    made = ConsumerProtocolMemberMetadata(4, ["ticks"], user_data)
    return bytes(made.encode())


def test_what_a_worker_declares_is_read_again() -> None:
    declared = Declaration.of(load_settings(env={"BARSTREAM_BARS__GRACE_S": "7"}))
    sent = declared.added_to(orjson.dumps({"url": "http://10.0.0.2:6066/", "assignment": {}}))
    assert orjson.loads(sent)["assignment"] == {}
    member = _member(OTHER.client, OTHER.host, joined(sent))
    assert member == replace(OTHER, declaration=declared)
    assert declared.settings["bars.grace_s"] == "7.0"


@pytest.mark.parametrize(
    "said",
    [
        None,
        7,
        {"version": 1},
        {"settings": {"a": "b"}},
        {"version": ["1.0"], "settings": 3},
    ],
)
def test_a_member_without_the_field_or_with_another_is_a_member(said: Any) -> None:
    sent = orjson.dumps({"url": "http://10.0.0.2:6066", "barstream": said})
    assert _member("c", "h", joined(sent)) == Member("c", "h", "http://10.0.0.2:6066")


@pytest.mark.parametrize("sent", [b"", b"\0", joined(b"no json"), joined(b"[1]"), joined(b"")])
def test_a_member_of_any_kind_is_no_error(sent: bytes) -> None:
    assert _member("c", "h", sent) == Member("c", "h")


def test_what_a_later_version_adds_is_left_unread_and_what_is_long_is_cut() -> None:
    said = {
        "version": "9" * 999,
        "settings": {"bars.grace_s": "5.0", "later": {"deep": 1}, "long": "x" * 10_000},
        "more": [1, 2],
    }
    declared = _member("c", "h", joined(orjson.dumps({"barstream": said}))).declaration
    assert declared is not None
    assert declared.version == "9" * 200
    assert declared.settings == {"bars.grace_s": "5.0", "long": "x" * 200}
