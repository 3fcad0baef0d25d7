"""The page of the families: what a stranger reads of clean runs, and of one that was not."""

from __future__ import annotations

from typing import Any

from tests.chaos.runs.alerts import rules_of
from tests.chaos.runs.report import merged, page
from tests.chaos.runs.result import Result


def stored(seed: int, **values: Any) -> dict[str, Any]:
    result = Result(
        seed, "said in full", "h rej 24 1b 1w 4p", chosen=False, faults=["bombs", "kill"],
        family="limits", ticks=500, seconds=30.0, peak_mib=180.2, descriptors=210,
        differences=0, counts={"bars": {"1m": 40}}, fired=["BarstreamWorkerGone"], commit="abc1234",
    )  # fmt: skip
    return result.as_dict() | values


def test_a_family_is_told_by_what_was_played_of_it() -> None:
    told = page([stored(1), stored(2), stored(3, problems=["a bar is wrong"])], rules_of())
    assert told.startswith("# Families of fault runs\n")
    assert "| 3 | 2 | 6 | 1,500 | 120, 0 | 180 MiB | 210 | 30 s | abc1234 3 |" in told
    assert "| limits 3 | h rej 24 1b 1w 4p | bombs kill | 500 | 0 |  |  | **not clean** |" in told


def test_it_says_what_a_fault_must_raise_and_what_was_raised() -> None:
    told = page([stored(1)], rules_of())
    (bombs,) = [line for line in told.splitlines() if line.startswith("| `bombs` |")]
    assert bombs.endswith("| BarstreamRejectedUndecodable |")
    raised = [line.split(" | ")[0] for line in told.splitlines() if line.startswith("| Barstream")]
    assert raised == ["| BarstreamWorkerGone"]


def test_a_page_is_added_to_and_a_run_that_was_played_again_stands_as_it_was_last() -> None:
    first = [stored(2, did=["killed w0"]), stored(1, problems=["a bar is wrong"])]
    rows = merged([*merged(first), stored(1, commit="def5678")])
    assert [(row["seed"], row["problems"], row["commit"]) for row in rows] == [
        (1, [], "def5678"),
        (2, [], "abc1234"),
    ]
    assert "| 2 | 2 | 4 | 1,000 |" in page(rows, rules_of())
    assert "| def5678 1, abc1234 1 |" in page(rows, rules_of())
