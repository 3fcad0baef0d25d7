"""``barstream ticks load --dry-run``: what it would send, without a broker."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from barstream.cli import cli
from tests.unit.feeds.text_files import PACKINGS

TEXT = "timestamp,price,qty,ticker\n2024-01-02 15:00:00,1.5,2,abc\n2024-01-02 15:01:00,1.6,,abc\n"


def run(*arguments: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(
        cli, ["ticks", "load", "--dry-run", "--broker", "x", *arguments], input=given
    )


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_file_is_known_by_its_content_not_by_its_name(tmp_path: Path, packing: str) -> None:
    path = tmp_path / "ticks.dat"
    path.write_bytes(PACKINGS[packing](TEXT.encode()))
    said = run(str(path), "--json")
    assert said.exit_code == 0, said.output
    *ticks, result = map(json.loads, said.stdout.splitlines())
    same = {"broker": "X", "symbol": "ABC"}
    assert ticks == [
        {"time": "2024-01-02T15:00:00.000000Z", **same, "price": 1.5, "size": 2.0},
        {"time": "2024-01-02T15:01:00.000000Z", **same, "price": 1.6, "size": None},
    ]
    assert result["rows"] == result["total"] == 2
    assert (result["zone"], result["zone_assumed"]) == ("UTC", True)


def test_what_was_taken_for_what_is_said(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(TEXT)
    said = run(str(path)).stdout
    assert "time = timestamp (UTC assumed: no zone in the file), price = price, size = qty" in said
    assert "2 ticks, nothing was sent" in said


def test_standard_input_and_patterns_are_read(tmp_path: Path) -> None:
    for name, minute in (("b.csv", 3), ("a.csv", 5)):
        (tmp_path / name).write_text(TEXT.replace("15:0", f"15:{minute}"))
    said = run(str(tmp_path / "*.csv"), "-", "--json", given=gzip.compress(TEXT.encode()))
    assert said.exit_code == 0, said.output
    *ticks, result = map(json.loads, said.stdout.splitlines())
    assert (result["file"], result["total"]) == ("stdin and 2 more", 6)
    assert [tick["time"][14:16] for tick in ticks] == ["00", "01", "30", "31", "50"]


def test_rows_left_out_are_named_and_make_the_exit_code_one(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(TEXT + "2042-01-02 15:00:00,1.5,2,abc\n2024-01-02 15:00:00,x,2,abc\n")
    refused = run(str(path))
    assert refused.exit_code == 2
    assert "future 1, undecodable 1" in refused.stderr
    assert "row 4: time (timestamp) = '2042-01-02 15:00:00'; row 5: price = 'x'" in refused.stderr
    said = run(str(path), "--skip-bad")
    assert said.exit_code == 1
    assert "2 rows left out: undecodable 1, future 1" in said.stdout
    assert "row 4: time (timestamp) = '2042-01-02 15:00:00'" in said.stdout


def test_the_feed_of_the_settings_says_what_it_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BARSTREAM_TICKS__FORMAT", "json")
    monkeypatch.setenv("BARSTREAM_TICKS__PRICE_SCALE", "2")
    monkeypatch.setenv("BARSTREAM_TICKS__TIME_UNIT", "ms")
    path = tmp_path / "ticks.csv"
    path.write_text(
        TEXT + "2024-01-02 15:00:00.12345,1.55,1,abc\n2024-01-02 15:01:00,1.555,1,abc\n"
    )
    said = run(str(path))
    assert said.exit_code == 2
    assert "row 5: price = '1.555'. The feed has 2 decimals in price (ticks" in said.stderr
    said = run(str(path), "--skip-bad")
    assert said.exit_code == 1
    assert "1 row left out: decimals 1" in said.stdout
    assert "\n  1 time cut to whole milliseconds\n" in said.stdout


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("one,two\n1,2\n", [], "none whose name says that it is the time and the price"),
        ("time,x\n2024-01-02 15:00:00,2\n", [], "found were --map time=time"),
        ("20240102 1500,2,3\n", [], "--no-header --map time=1 --map price=2"),
        ("time,open,high,low,close\n2024-01-02 15:00:00,1,1,1,1\n", [], "--map price=close"),
        ("time,price\n2024-01-02 15:00:00,2\n", [], "the symbol is required: --symbol NAME"),
        (TEXT, ["--map", "time"], "time=COLUMN and the like is required"),
        (TEXT, ["--columns", "a,b", "--header"], "--no-header"),
        (TEXT, ["--date", "2024-01-02"], "--date must be a day as YYYYMMDD"),
        (TEXT, ["--date", "20240230"], "--date must be a day as YYYYMMDD"),
        (TEXT, ["--delimiter", "||"], "--delimiter must be one ASCII character"),
        (TEXT, ["--delimiter", "\u00a6"], "--delimiter must be one ASCII character"),
        (TEXT, ["--delimiter", ""], "--delimiter must be one ASCII character"),
        (TEXT, ["--decimal", ""], "--decimal must be one character"),
        (TEXT, ["--map", "time=nope", "--map", "price=price"], "has no column 'nope'"),
        (TEXT, ["--decimal", ",", "--thousands", ","], "must differ"),
        ("", [], "holds no ticks"),
        ("time,price,symbol\n", [], "holds no ticks"),
        ('{"a": 1}\n', [], "none whose name says"),
        ("Apache License\nVersion 2.0\n", [], "does not look like ticks"),
        ("{nonsense\n", [], "one JSON object per line"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    tmp_path: Path, text: str, options: list[str], message: str
) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text(text)
    said = run(str(path), *options)
    assert said.exit_code == 2, said.output
    assert message in said.stderr
    assert "Traceback" not in said.output


@pytest.mark.parametrize("cut", ["gzip", "bzip2", "xz", "zip", "parquet"])
def test_a_damaged_file_is_told_as_such(tmp_path: Path, cut: str) -> None:
    path = tmp_path / "ticks.dat"
    whole: Any = PACKINGS[cut](TEXT.encode())
    path.write_bytes(whole[: len(whole) * 2 // 3])
    said = run(str(path))
    assert said.exit_code == 2
    assert "damaged" in said.stderr


@pytest.mark.parametrize("name", ["nowhere.csv", "nowhere/*.csv", "."])
def test_a_file_that_is_not_there_is_named(name: str) -> None:
    said = run(name)
    assert said.exit_code == 2
    assert name in said.stderr


def test_the_broker_of_the_settings_goes_before_a_column_that_was_found(tmp_path: Path) -> None:
    path = tmp_path / "ticks.csv"
    path.write_text("time,price,symbol,exchange\n2024-01-02 15:00:00,1.5,abc,NYSE\n")
    arguments = ["ticks", "load", "--dry-run", "--json", str(path)]
    for constant, broker in (("LMAX", "LMAX"), (None, "NYSE")):
        said = CliRunner().invoke(
            cli, arguments, env={"BARSTREAM_TICKS__BROKER_CONSTANT": constant}
        )
        assert said.exit_code == 0, said.output
        assert json.loads(said.stdout.splitlines()[0])["broker"] == broker


def options_of_command(*path: str) -> set[str]:
    command: click.Command = cli
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    return {option for parameter in command.params for option in parameter.opts}


def test_the_page_on_files_and_the_options_agree() -> None:
    page = (Path(__file__).parents[3] / "docs" / "files.md").read_text()
    named = set(re.findall(r"--[a-z][a-z-]*", page))
    loads, tries = options_of_command("ticks", "load"), options_of_command("try")
    known = loads | tries | options_of_command("schedule", "load") | options_of_command("bars")
    assert not named - known - {"--no-header"}
    shared = {option for option in loads & tries if option.startswith("--")}
    assert not shared - named - {"--help", "--header"}
