"""A diff as lines of a terminal and as one JSON object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from barstream.model.bar_fields import EXACT_FIELDS

if TYPE_CHECKING:
    from barstream.replay.compare import BarDifference
    from barstream.replay.diff import PartitionDiff

_COLUMNS: Final = ("equal", "different", "only_published", "only_replayed", "open")


def lines_of(differences: Iterable[BarDifference]) -> list[str]:
    """Each difference: which bar, and its fields, published -> replayed."""
    lines: list[str] = []
    for found in differences:
        row = found.to_json()
        partly = ", begins before the replay" if found.partly else ""
        lines.append(
            f"{row['broker']} {row['symbol']} {row['timeframe']} {row['bucket_start']}  "
            f"{row['kind'].replace('_', ' ')}{partly}"
        )
        changed = found.changed
        for exact in EXACT_FIELDS:
            if exact.rounded in changed:
                changed.pop(exact.name, None)  # hundreds of digits, and the float says it already
        lines += [f"  {name}: {old} -> {new}" for name, (old, new) in changed.items()]
    return lines


def summary_of(parts: Sequence[PartitionDiff]) -> dict[str, Any]:
    """Counts by timeframe, and by what rules the replay was made."""
    from barstream.replay.compare import ComparisonCounts

    tallies: dict[str, ComparisonCounts] = {}
    for part in parts:
        for period, tally in part.tallies.items():
            tallies.setdefault(period.timeframe, ComparisonCounts()).add(tally)
    rules = parts[0].scope.derived
    return {
        "type": "summary",
        "differences": sum(tally.differences for tally in tallies.values()),
        "timeframes": {timeframe: asdict(tally) for timeframe, tally in tallies.items()},
        "grace_s": rules.grace_us / 1e6,
        "late_policy": rules.late_policy,
        "closes": "recorded" if rules.recorded else "derived",
        "partitions": [part.scope.derived.partition for part in parts],
    }


def table_of(summary: dict[str, Any]) -> list[str]:
    """The counts as aligned lines, and the verdict."""
    lines = [
        "".join(["timeframe".ljust(12), *(name.replace("_", " ").rjust(16) for name in _COLUMNS)])
    ]
    for timeframe, tally in summary["timeframes"].items():
        cells = [f"{tally[name]:,}".rjust(16) for name in _COLUMNS]
        lines.append("".join([timeframe.ljust(12), *cells]))
    mended = sum(tally["mended"] for tally in summary["timeframes"].values())
    if mended:
        lines.append(
            f"{mended:,} of the equal ones carry a higher revision: switched over to before"
        )
    count = summary["differences"]
    alone = sum(tally["close_alone"] for tally in summary["timeframes"].values())
    of_them = f", {alone:,} of them in close_offset alone: the same values" if alone else ""
    added = sum(tally["turnover_alone"] for tally in summary["timeframes"].values())
    if added:
        of_them += (
            f", {added:,} in turnover and vwap alone: the published ones have none, a version that "
            "did not add it up made them"
        )
    differ = "bar differs" if count == 1 else "bars differ"
    lines.append(f"{count:,} {differ}{of_them}" if count else "nothing differs")
    return lines
