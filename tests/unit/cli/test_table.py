"""Tables in a file or a pipe, where nobody knows how wide the window of a reader is."""

from __future__ import annotations

import pytest
from rich.table import Table

from barstream.cli.table import print_table


def test_without_a_terminal_no_line_is_folded_or_ends_in_blanks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sentence = "as planned " * 20 + "[here]"
    table = Table("topic", "state", "details", box=None, pad_edge=False)
    table.add_row("ticks", "created", "3 partitions")
    table.add_row("rate_1m_final", "ok", sentence.replace("[", "\\["))

    print_table(table)

    assert capsys.readouterr().out.splitlines() == [
        "topic          state    details",
        "ticks          created  3 partitions",
        f"rate_1m_final  ok       {sentence}",
    ]
