"""Files that were damaged: every row of each is accounted for.

What can be read of a damaged file is not the point here (``test_small_inputs.py`` has that), but
that no row is lost in silence: ticks, rows refused and rows set aside are all the rows.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Final

import pytest

from barstream.errors import BarstreamError
from barstream.feeds.container import TickSource
from tests.unit.feeds.text_files import NOW_US, PACKINGS, read, written

#: A thousand take ten seconds; they were run, and are with ``BARSTREAM_TEST_MUTANTS=1000``.
SEEDS: Final = int(os.environ.get("BARSTREAM_TEST_MUTANTS", "200"))
GROUPS: Final = 4
ROWS: Final = 30


def whole(dice: random.Random) -> list[str]:
    """Rows of a sound file, the header first."""
    at = 1_704_200_000_000_000
    rows = ["time,price,size,id"]
    for number in range(ROWS):
        at += dice.randrange(1, 90_000_000)
        rows.append(f"{at},{100 + dice.random():.5f},{dice.randrange(1, 500)},{number}")
    return rows


def swap(dice: random.Random, rows: list[str]) -> None:
    """Two columns change places in some rows."""
    for at in dice.sample(range(1, len(rows)), 3):
        fields = rows[at].split(",")
        a, b = dice.randrange(len(fields)), dice.randrange(len(fields))
        fields[a], fields[b] = fields[b], fields[a]
        rows[at] = ",".join(fields)


def change_unit(dice: random.Random, rows: list[str]) -> None:
    """Times in other units and forms."""
    for at in dice.sample(range(1, len(rows)), 5):
        time, *rest = rows[at].split(",")
        other = dice.choice(
            [time[:10], time[:13], time + "000", f"{time[:10]}.{time[10:]}", "20240102170000",
             "2024-01-02 17:00:00", "02.01.2024 17:00:00", "24-01-02 17:00:00", "-1", "17:00"]
        )  # fmt: skip
        rows[at] = ",".join([other, *rest])


def cut(dice: random.Random, rows: list[str]) -> None:
    """Rows that end too early, or go on."""
    for at in dice.sample(range(1, len(rows)), 3):
        rows[at] = rows[at][: dice.randrange(len(rows[at]) + 1)] if dice.random() < 0.7 else (
            rows[at] + dice.choice([",", ",1", ",,", ',"', ";"])
        )  # fmt: skip


def numbers(dice: random.Random, rows: list[str]) -> None:
    """Prices and sizes that are none."""
    for at in dice.sample(range(1, len(rows)), 4):
        fields = rows[at].split(",")
        odd = ["nan", "inf", "-5", "", "1e400", '"1,500"', "1.5.5", "0x10", " 7 ", "abc", '"']
        fields[dice.randrange(len(fields))] = dice.choice(odd)
        rows[at] = ",".join(fields)


def repeat(dice: random.Random, rows: list[str]) -> None:
    """Rows that are there twice, and empty lines between."""
    for at in dice.sample(range(1, len(rows)), 3):
        rows.insert(at, dice.choice([rows[at], ""]))


MUTATIONS: Final = (swap, change_unit, cut, numbers, repeat)
ENDS: Final = ("\n", "\r\n")


def changed_bytes(dice: random.Random, text: bytes) -> bytes:
    """Single bytes changed, behind the header and never to a line end, so that rows stay rows."""
    damaged = bytearray(text)
    begin = text.index(b"\n") + 1
    for _ in range(dice.randrange(4)):
        at = dice.randrange(begin, len(damaged))
        if damaged[at] not in b"\r\n":
            damaged[at] = dice.choice([i for i in range(256) if i not in (10, 13)])
    return bytes(damaged)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_damaged_packed_file_is_read_or_refused(packing: str) -> None:
    dice = random.Random(packing)
    whole_file = PACKINGS[packing](("\n".join(whole(dice)) + "\n").encode())
    read_some = 0
    for _ in range(SEEDS // 4):
        damaged = bytearray(whole_file)
        if dice.random() < 0.5:
            del damaged[dice.randrange(len(damaged)) :]
        for _ in range(dice.randrange(3)):
            if damaged:
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        try:
            ticks = read(TickSource("x.dat", given=bytes(damaged)), skip_bad=True)
        except BarstreamError:
            continue
        counted = ticks.counted
        assert len(ticks) + counted.refused.total() == counted.rows
        read_some += 1
    assert read_some


def rows_in(text: bytes) -> int:
    """Lines that hold anything, without the header."""
    return sum(bool(line.removesuffix(b"\r")) for line in text.split(b"\n")) - 1


@pytest.mark.parametrize("group", range(GROUPS))
def test_no_row_of_a_damaged_file_is_lost_in_silence(tmp_path: Path, group: int) -> None:
    refused = aside = sent = 0
    for seed in range(group, SEEDS, GROUPS):
        dice = random.Random(seed)
        rows = whole(dice)
        for mutate in dice.sample(MUTATIONS, dice.randrange(1, 4)):
            mutate(dice, rows)
        end = dice.choice(ENDS)
        text = changed_bytes(dice, (end.join(rows) + end * dice.randrange(3)).encode())
        said = {"id_column": "id"} if dice.random() < 0.3 else {}
        try:
            ticks = read(written(tmp_path, text), skip_bad=True, **said)
        except BarstreamError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        counted = ticks.counted
        assert counted.rows == rows_in(text), f"seed {seed}"
        total = len(ticks) + counted.refused.total() + counted.set_aside.total()
        assert total == counted.rows, f"seed {seed}"
        assert (ticks.time_us >= 0).all()
        assert (ticks.time_us <= NOW_US).all(), f"seed {seed}"
        assert ticks.price.size == len(ticks)
        shown = [row.row for row in counted.shown]
        assert len(shown) == min(3, counted.refused.total())
        lines = text.split(b"\n")
        assert all(0 < row <= len(lines) and lines[row - 1].strip(b"\r") for row in shown)
        sent, refused, aside = (
            sent + len(ticks), refused + counted.refused.total(), aside + counted.set_aside.total()
        )  # fmt: skip
    assert sent
    assert refused
    assert aside
