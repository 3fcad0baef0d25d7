"""What fault runs hold a worker to is what docs/capacity.md says."""

from __future__ import annotations

import pytest

from barstream.config import load_settings
from tests.chaos.runs.resource_usage import footprint_problems, most_descriptors, most_mib
from tests.chaos.runs.scrape import Watch
from tests.pipeline import ROOT

PAGE = (ROOT / "docs" / "capacity.md").read_text()
SETTINGS = load_settings(env={})


def test_a_worker_of_four_partitions_has_the_descriptors_of_the_page() -> None:
    assert "4 partitions with the default\ntimeframes (six tables) need about 900" in PAGE
    assert most_descriptors(SETTINGS) == pytest.approx(900, rel=0.15)


def test_the_parts_of_its_memory_are_those_of_the_page() -> None:
    for said in (
        "320 MiB for the process",
        "64 MiB for answers",
        "up to 120 MiB for what is being",
    ):
        assert said in PAGE
    tables = 4 * 6
    assert most_mib(SETTINGS) == 320 + 64 + 120 + tables + SETTINGS.ticks.max_batch_mib


def test_who_takes_more_is_told() -> None:
    watch = Watch(dict)
    assert footprint_problems(watch, SETTINGS) == []
    watch.peak_mib, watch.descriptors = most_mib(SETTINGS) + 1, most_descriptors(SETTINGS) + 1
    assert len(footprint_problems(watch, SETTINGS)) == 2
