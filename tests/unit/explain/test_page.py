"""docs/explain.md names every reason and every way a bar is closed."""

from __future__ import annotations

from typing import get_args

from barstream.explain.absence import AbsenceReason
from barstream.explain.close_cause import By
from tests.kafka_jars import ROOT


def test_the_page_names_every_reason_once_and_every_way_to_close() -> None:
    page = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")
    for reason in AbsenceReason:
        assert page.count(f"| `{reason}` |") == 1, reason
    for by in get_args(By):
        assert page.count(f"| {by} |") == 1, by
