"""`barstream explain` names the one reason why a bar is as it is, from Kafka alone."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from barstream.model.key import bar_key
from barstream.model.time import iso_from_us, us_from_iso
from tests.functional.handwritten_history import (
    DATES,
    OPTIONS,
    Written,
    applied,
    at,
    load_sessions,
    why,
    write_history,
)
from tests.functional.records import Out, Phase, admin, beat, end_offset, send, send_ticks
from tests.functional.tick_records import SECOND_US, Tick, now_us
from tests.pipeline import Pipeline, pipeline, until

pytestmark = pytest.mark.kafka

DAY = DATES[0]


@pytest.fixture(scope="module")
def written(kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    name, directory = f"t{secrets.token_hex(4)}", tmp_path_factory.mktemp("explained")
    with pipeline(kafka.bootstrap, name, directory, **OPTIONS) as made:
        yield write_history(made, directory)


def test_a_bar_with_ticks_says_which_gave_what_and_which_closed_it(written: Written) -> None:
    found = why(written.made, "s", f"{DAY}T06:41:30")
    report = found.report
    assert (report["status"], found.code) == ("final", 0)
    first, second, third, fourth, late, *_ = written.first
    given = report["ticks"]["given_by"]
    assert given == {"open": first, "high": second, "low": first, "close": second, "agrees": True}
    assert [tick["offset"] for tick in report["ticks"]["shown"]] == [first, second, third]
    closed = report["closed_by"]
    assert (closed["by"], closed["tick"]["offset"]) == ("watermark", fourth)
    assert closed["close_offset"] == fourth + 1 == report["finals"][0]["close_offset"]
    assert [(one["reason"], one["offset"]) for one in report["rejected"]] == [("late", late)]
    assert report["rejected"][0]["append_time"] is not None
    assert report["session"]["trading_date"] == DAY
    assert report["partition"]["lag"] == 0


def test_a_synthetic_bar_names_the_bar_its_price_comes_from(written: Written) -> None:
    report = why(written.made, "S", f"{DAY}T06:42").report
    assert (report["status"], report["finals"][0]["synthetic"]) == ("final", True)
    assert report["price_from"]["bucket_start"] == f"{DAY}T06:41:00Z"
    assert report["closed_by"]["tick"]["offset"] == written.first[3]


def test_a_heartbeat_is_named_with_its_barrier_and_ticks_of_another_partition_are_seen(
    written: Written,
) -> None:
    found = why(written.made, "S", f"{DAY}T06:43", people=True)
    closed = found.report["closed_by"]
    assert (closed["by"], closed["heartbeat"]["barrier"]) == ("heartbeat", written.barrier)
    assert closed["close_offset"] == written.barrier
    (elsewhere,) = found.report["in_other_partitions"]
    assert (elsewhere["partition"], elsewhere["price"]) == (1, 99.0)
    assert f"barrier {written.barrier}" in found.text


@pytest.mark.parametrize(
    ("time", "reason", "said"),
    [
        (f"{DAY}T06:35", "before_first_price", f"{DAY}T06:41:10Z"),
        (f"{DAY}T07:30", "off_session", "2023-11-21"),
        ("2023-12-24T06:35", "off_session", "no session after"),
        (f"{DAY}T07:01", "schedule_newer", "written at"),
        ("2023-11-23T06:35", "asleep", "asleep since 2023-11-23T06:30:00Z"),
        ("2023-11-24T06:30", "asleep", "event time 2023-11-24T06:31:00Z"),
        ("2023-11-24T06:31", "historical", "2023-11-24T06:32"),
        ("2023-11-24T06:40", "historical", "ticks load"),
    ],
)
def test_a_minute_without_a_final_has_its_reason(
    written: Written, time: str, reason: str, said: str
) -> None:
    found = why(written.made, "S", time)
    assert (found.reason, found.code) == (reason, 1)
    assert said in found.report["explanation"]


def test_a_minute_with_ticks_that_is_not_final_is_open(written: Written) -> None:
    report = why(written.made, "S", "2023-11-24T06:31").report
    assert (report["status"], report["ticks"]["accepted"]) == ("open", 1)
    assert why(written.made, "S", "2023-11-24T06:32").report["status"] == "missing"


@pytest.mark.parametrize(
    ("symbol", "reason", "said"),
    [
        ("UNKNOWN", "unscheduled", "schedule load"),
        ("OFF", "no_price", "1 off_session"),
        ("SS", "never_seen", "B S"),
    ],
)
def test_a_series_without_any_bar_has_its_reason(
    written: Written, symbol: str, reason: str, said: str
) -> None:
    report = why(written.made, symbol, f"{DAY}T06:41").report
    assert report["reason"] == reason
    assert said in f"{report['explanation']} {report['what_to_do']}"


def test_an_upper_bar_counts_its_children_and_says_which_gave_what(written: Written) -> None:
    report = why(written.made, "S", f"{DAY}T06:41", "--timeframe", "5m").report
    children = report["children"]
    assert (children["expected"], children["real"], children["synthetic"]) == (4, 2, 2)
    assert children["given_by"]["high"] == f"{DAY}T06:43:00Z"
    day = why(written.made, "S", DAY, "--timeframe", "1d").report
    assert (day["status"], day["children"]["missing"]) == ("final", 5)  # loaded afterwards


def test_an_upper_bar_that_waits_explains_the_minute_it_waits_for(written: Written) -> None:
    for timeframe in ("5m", "1d", "1wk"):
        found = why(written.made, "S", "2023-11-24T06:31", "--timeframe", timeframe, people=True)
        assert (found.reason, found.report["status"]) == ("waiting_for_children", "open")
        assert found.report["waits_for"] == "2023-11-24T06:31:00Z"
        assert found.report["waiting_minute"]["reason"] == "historical"
        assert "historical" in found.text
    asleep = why(written.made, "S", "2023-11-23", "--timeframe", "1d")
    assert asleep.reason == "asleep"


def test_a_timeframe_the_pipeline_does_not_make_is_refused_with_those_it_makes(
    written: Written,
) -> None:
    said = written.made.run("explain", "B", "S", DAY, "--timeframe", "7h+0h", check=False)
    assert "5m 1h 1d 1wk" in said


def test_what_is_not_applied_yet_says_how_far_it_is(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # no worker  |  a worker, stopped  |  and then: a tick that closes | a heartbeat that waits
    with pipeline(kafka.bootstrap, unique, tmp_path, **OPTIONS) as made:
        load_sessions(made, tmp_path, [f"S,{date},0,06:30:00,06:50:00" for date in DATES])
        send_ticks(made, [at("06:41:10", 5.0)])
        found = why(made, "S", f"{DAY}T06:41")
        assert (found.reason, found.report["partition"]["lag"]) == ("not_applied", 1)
        worker = made.worker()
        # a worker that stops leaves what it has not committed to the next one
        until(lambda: made.position() == 1, 30, "the tick committed")
        assert worker.stop() == 0
        beat(made, "S", us_from_iso(f"{DAY}T06:41:00Z"), 2)
        found = why(made, "S", f"{DAY}T06:41")
        assert found.reason == "waiting_for_barrier"
        assert "barrier 2" in found.report["explanation"]
        closing = send_ticks(made, [at("06:42:05", 6.0)])
        found = why(made, "S", f"{DAY}T06:41")
        assert found.reason == "not_applied"
        assert f"offset {closing[0]}" in found.report["explanation"]


def test_a_live_series_is_followed_from_its_tick_to_its_final(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # tick | not over yet | worker gone, heartbeat due and not sent | worker back: final
    phase = Phase(25)
    options = {
        "BARS__SCHEDULE": "false",
        "TOPICS__PARTITIONS": "1",
        "BARS__GRACE_S": str(phase.span_s),
        "HEARTBEATS__RESUME_HOLD_S": "0",
        "BARS__TIMEFRAMES": "5m,1d,1wk",
    }
    minute = iso_from_us(phase.minute_us)
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        worker = made.worker()
        send_ticks(made, [Tick("B", "S", phase.minute_us + 59 * SECOND_US, 5.0)])
        applied(made, 1)
        until(lambda: bool(made.read(made.names.series_seen)), 20, "the series shown to all")
        worker.kill()
        found = why(made, "S", minute)
        assert (found.reason, found.report["status"]) == ("not_over", "open"), found.report
        assert found.report["series"]["live"] is True
        until(lambda: now_us() > phase.due_us + SECOND_US, 40, "the minute due")
        assert why(made, "S", minute).reason == "heartbeat_not_sent"
        off = why(made, "S", minute, HEARTBEATS__ENABLED="false")
        assert off.reason == "heartbeats_off"
        made.worker()
        until(lambda: bool(made.finals()), 40, "the minute final")
        closed = why(made, "S", minute).report["closed_by"]
        assert (closed["by"], closed["heartbeat"]["source"]) == ("heartbeat", "planner")
        week = why(made, "S", minute, "--timeframe", "1wk")
        assert week.report["waiting_minute"]["reason"] in ("not_over", "heartbeat_not_sent")


def test_a_week_whose_schedule_ends_inside_it_says_what_it_waits_for(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # today's only session is over and closed; nothing says that no other comes this week
    today = iso_from_us(now_us())[:10]
    with pipeline(kafka.bootstrap, unique, tmp_path, **OPTIONS) as made:
        load_sessions(made, tmp_path, [f"S,{today},0,00:00:00,00:01:00"])
        made.worker()
        opens_us = us_from_iso(f"{today}T00:00:00Z")
        send_ticks(made, [Tick("B", "S", opens_us + SECOND_US, 5.0)])
        beat(made, "S", opens_us, end_offset(made))
        until(lambda: bool(made.finals()), 70, "the session closed")
        found = why(made, "S", today, "--timeframe", "1wk")
        assert found.reason == "schedule_ends"
        assert "schedule load" in str(found.report["what_to_do"])
        assert why(made, "S", today, "--timeframe", "1d").code == 0


def test_a_bar_that_retention_or_a_tombstone_took_is_deleted(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    with pipeline(kafka.bootstrap, unique, tmp_path, **OPTIONS) as made:
        load_sessions(made, tmp_path, [f"S,{date},0,06:30:00,06:50:00" for date in DATES])
        worker = made.worker()
        send_ticks(made, [at("06:30:10", 5.0), at("06:40:10", 6.0)])
        until(lambda: len(made.finals()) == 10, 20, "ten minutes final")
        assert worker.stop() == 0
        _delete(made, made.names.final_1m, before=5)
        found = why(made, "S", f"{DAY}T06:32")
        assert found.reason == "deleted"
        assert why(made, "S", f"{DAY}T06:36").code == 0
        key = bar_key("B", "S", us_from_iso(f"{DAY}T06:36:00Z"))
        send(made, [Out(key, None)], topic=made.names.final_1m)
        found = why(made, "S", f"{DAY}T06:36")
        assert found.reason == "deleted"
        assert "tombstone" in found.report["explanation"]


def test_a_bar_that_nothing_explains_is_said_to_be_wrong(
    kafka: Any, unique: str, tmp_path: Path
) -> None:
    # the state says closed, the final is not there: a fault, and not to be talked away
    with pipeline(kafka.bootstrap, unique, tmp_path, **OPTIONS) as made:
        load_sessions(made, tmp_path, [f"S,{date},0,06:30:00,06:50:00" for date in DATES])
        worker = made.worker()
        send_ticks(made, [at("06:30:10", 5.0), at("06:40:10", 6.0)])
        until(lambda: len(made.finals()) == 10, 20, "ten minutes final")
        assert worker.stop() == 0
        copies = [
            Out(record.key, record.value)
            for record in made.read(made.names.final_1m)
            if record.key != bar_key("B", "S", us_from_iso(f"{DAY}T06:35:00Z"))
        ]
        other = f"{made.name}-copied"
        made.options["TOPICS__BASE"] = other
        made.run("topics", "create")
        send(made, copies, topic=made.names.final_1m)
        found = why(made, "S", f"{DAY}T06:35")
        assert found.reason == "unexplained"
        assert found.report["what_to_do"] == "barstream verify B S"


def test_revisions_and_a_bar_made_by_a_late_tick(kafka: Any, unique: str, tmp_path: Path) -> None:
    # 06:41 two ticks, closed; then a late one of 06:41, and one of 06:35 before the first price
    options = OPTIONS | {"BARS__LATE_POLICY": "revise"}
    with pipeline(kafka.bootstrap, unique, tmp_path, **options) as made:
        load_sessions(made, tmp_path, [f"S,{date},0,06:30:00,06:50:00" for date in DATES])
        made.worker()
        send_ticks(made, [at("06:41:10", 5.0), at("06:43:10", 6.0)])
        until(lambda: len(made.finals()) == 2, 20, "two minutes final")
        late = send_ticks(made, [at("06:41:20", 9.0), at("06:35:00", 1.0)])
        until(lambda: len(made.finals()) >= 5, 20, "revisions written")
        found = why(made, "S", f"{DAY}T06:41", people=True)
        revisions = [one["revision"] for one in found.report["finals"]]
        assert revisions == [0, 1]
        assert found.report["closed_by"]["by"] == "watermark"
        assert found.report["ticks"]["given_by"]["high"] == late[0]
        assert "revision 1" in found.text
        made_late = why(made, "S", f"{DAY}T06:35").report
        assert (made_late["status"], made_late["closed_by"]["by"]) == ("final", "late_tick")


def _delete(made: Pipeline, topic: str, before: int) -> None:
    async def go() -> None:
        async with admin(made) as client:
            place = TopicPartition(topic, 0)
            await client.delete_records({place: RecordsToDelete(before_offset=before)})

    asyncio.run(go())
