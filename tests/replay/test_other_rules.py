"""With other rules a replay is what a worker with these rules would have made of the same log."""

from __future__ import annotations

from pathlib import Path

import pytest

from barstream.codecs.topics.bar import decode_bar
from barstream.market.session import SessionRow
from barstream.model.period import Period
from barstream.model.time import iso_date_from_days, iso_micros_from_us, us_from_iso
from barstream.rules.rollup_fold import fold
from tests.pipeline import Pipeline
from tests.replay.plain_log import always_open, bars_of, plain
from tests.replay.replays import newest, replay, shadows

pytestmark = pytest.mark.kafka

SECOND_US = 1_000_000


@pytest.mark.parametrize(
    ("arguments", "grace_s", "revises"),
    [
        (("--grace", "1"), 1, False),
        (("--grace", "60"), 60, False),
        (("--late-policy", "revise"), 5, True),
        (("--anew",), 5, False),
    ],
    ids=["shorter-grace", "longer-grace", "revise", "anew"],
)
def test_it_equals_one_tick_at_a_time(
    lived: Pipeline, arguments: tuple[str, ...], grace_s: int, revises: bool
) -> None:
    suffix = "".join(c for c in "-".join(arguments) if c.isalnum())
    said = replay(lived, "--suffix", suffix, *arguments)
    assert said.code in (0, 1), said.text
    if "--anew" not in arguments:
        assert said.differences, "another rule that changes nothing shows nothing"

    expected = plain(lived, grace_s * SECOND_US, revises=revises)
    shadow = shadows(lived, suffix)
    assert bars_of(lived, shadow[lived.names.final_1m]) == expected
    # and each upper bar is the fold of the replayed minutes
    five = Period.minutes(5)
    minutes = [decode_bar(v) for v in newest(lived, shadow[lived.names.final_1m]).values()]
    uppers = [decode_bar(v) for v in newest(lived, shadow[lived.names.rollups[five]]).values()]
    assert len(uppers) > 8
    for bar in uppers:
        children = [
            each for each in minutes
            if each.symbol == bar.symbol and five.floor(each.bucket_start_us) == bar.bucket_start_us
        ]  # fmt: skip
        whole = fold(sorted(children, key=lambda each: each.bucket_start_us), bar.bucket_start_us)
        assert (bar.open, bar.high, bar.low, bar.close) == (
            whole.open, whole.high, whole.low, whole.close,
        )  # fmt: skip
        assert (bar.volume, bar.tick_count) == (whole.volume, whole.tick_count)
        assert bar.revision >= whole.revision


def test_a_schedule_file_needs_a_pipeline_with_a_schedule(lived: Pipeline, tmp_path: Path) -> None:
    file = tmp_path / "sessions.csv"
    day = us_from_iso("2024-03-04T00:00:00Z") // 86_400_000_000
    row: SessionRow = always_open("CHX", "S00", day * 86_400_000_000)[0]
    file.write_text(
        "broker,symbol,trading_date,open,close\nCHX,S00,"
        f"{iso_date_from_days(row.trading_date)},{iso_micros_from_us(row.open_us)},"
        f"{iso_micros_from_us(row.close_us)}\n"
    )
    said = replay(lived, "--suffix", "file", "--schedule", str(file))
    assert said.code == 2
    assert "bars.schedule is false" in said.text
