"""How far something is, where there is no terminal for a bar."""

from __future__ import annotations

import re
import time

import pytest

from barstream.cli.progress import TickProgress


def said(capsys: pytest.CaptureFixture[str], *, lines: bool, until: str) -> str:
    """What stands on stderr once it contains ``until``, or a second is over."""
    text, deadline = "", time.monotonic() + (30 if lines else 0.2)
    with TickProgress("verify", lines=lines, line_every_s=0.01) as progress:
        progress.begin(0, 2_000)
        progress.advance(1_500)
        while until not in text and time.monotonic() < deadline:
            time.sleep(0.01)
            text += capsys.readouterr().err
    return text


def test_a_line_now_and_then_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, lines=True, until="1,500 of 2,000 ticks")
    assert re.search(r"^verify: 1,500 of 2,000 ticks, \d+ s$", text, re.MULTILINE), text


def test_nothing_is_said_where_nobody_asked_for_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, lines=False, until="ticks") == ""
