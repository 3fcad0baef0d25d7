"""`python -m bench` as a person runs it, at its smallest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline import ROOT

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.skipif(
        not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
        reason="the broker and who is measured need a core each",
    ),
]


def run(directory: Path, *more: str) -> subprocess.CompletedProcess[str]:
    # the smallest: 500 series, 5 bars, 5 ticks a bar
    options = ("--contestants", "barstream", "--shapes", "sparse", "--phases", "drain",
               "--scale", "0.01", "--rounds", "1", "--results", str(directory))  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "bench", *options, *more], cwd=ROOT, text=True, check=False,
        capture_output=True, timeout=280,
    )  # fmt: skip


def test_a_small_comparison_has_no_misses_and_is_not_run_twice(kafka: Any, tmp_path: Path) -> None:
    done = run(tmp_path, "--json", str(tmp_path / "all.json"), "--report", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "drain, bars wrong" in done.stdout
    (result,) = json.loads((tmp_path / "all.json").read_text())["results"]
    assert result["misses"]["expected"] > 500 * 5
    assert result["misses"]["bars"] == 0
    assert result["failed"] is None
    assert result["figures"]["bytes_per_tick"] > 0
    assert "barstream" in (tmp_path / "comparison.md").read_text()

    again = run(tmp_path)
    assert again.returncode == 0, again.stderr
    assert "round 1" not in again.stderr


def test_results_of_other_options_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"seed": 7}')
    done = run(tmp_path)
    assert done.returncode == 2
    assert "seed: 7 there, 1 now" in done.stderr
    assert "Traceback" not in done.stderr
