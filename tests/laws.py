"""The laws of barstream, numbered: where each stands in code, reference, tests and verifier.

``python -m tests.laws`` prints ``docs/laws.md``; a test keeps the page, and every name in it, true.
A test holds a law where it is marked ``@pytest.mark.law("L4")``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
PAGE: Final = ROOT / "docs" / "laws.md"


@dataclass(frozen=True, slots=True)
class Law:
    """One law.

    Attributes:
        number: ``L4``; never given to another law.
        text: what always holds.
        code: where the product keeps it, ``path:name``; the first is where one begins to read.
        reference: where the definition has it; empty: it is not of the definition of a bar.
        verifier: where it is recomputed from the topics; empty: it leaves nothing there to see.
    """

    number: str
    text: str
    code: tuple[str, ...]
    reference: tuple[str, ...] = ()
    verifier: tuple[str, ...] = ()


_SERIES: Final = "tests/reference/series.py:PlainSeries"
LAWS: Final = (
    Law(
        "L1",
        "Arrival order never changes a bar: it opens with the earliest tick by (event time, "
        "offset) and closes with the latest, however ticks were cut into batches.",
        ("barstream/rules/tick_fold.py:merge_bars", "barstream/model/bar.py:PartialBar"),
        (f"{_SERIES}.real",),
        ("barstream/verify/minute_fold.py:fold",),
    ),
    Law(
        "L2",
        "Volume is the exactly rounded sum of its sizes, turnover that of price x size, each "
        "product rounded once; where floats end they are the largest, with its sign. Who joined an "
        "open bar too late to know its turnover says that it has none.",
        (
            "barstream/model/exact_sum.py:group_units",
            "barstream/model/exact_sum.py:ExactSum",
            "barstream/model/bar.py:PartialBar",
        ),
        ("tests/reference/series.py:rounded_sum", "tests/reference/series.py:turnover"),
        ("barstream/verify/minute_fold.py:sums", "barstream/verify/turnover.py:may_lack"),
    ),
    Law(
        "L3",
        "A tick is in session when open <= t < close; a print within the close tolerance "
        "belongs to the last minute. Rows are never merged.",
        (
            "barstream/rules/session_gate.py:judge_sessions",
            "barstream/market/session.py:RowsSchedule",
        ),
        (f"{_SERIES}.session",),
        ("barstream/verify/hours.py:Hours",),
    ),
    Law(
        "L4",
        "A minute becomes final once, in ascending order, and every in-session minute between "
        "two finals has one.",
        ("barstream/rules/close.py:close_series",),
        (f"{_SERIES}.close",),
        ("barstream/verify/completeness.py:Completeness",),
    ),
    Law(
        "L5",
        "An accepted tick at or after the end of a minute and the grace closes it; a tick that "
        "is not accepted moves nothing.",
        ("barstream/rules/tick_batch.py:apply_ticks",),
        (f"{_SERIES}.tick",),
        ("barstream/verify/close_causes.py:Closes", "barstream/verify/watermarks.py:Watermarks"),
    ),
    Law(
        "L6",
        "A heartbeat never overtakes ticks that were in Kafka when it was sent: it closes when "
        "all below its barrier has been applied, so lag changes no bar.",
        (
            "barstream/partition/heartbeat_queue.py:HeartbeatQueue",
            "barstream/partition/machine.py:PartitionMachine.release",
        ),
        (f"{_SERIES}.heartbeat",),
        ("barstream/verify/proof.py:Heartbeats",),
    ),
    Law(
        "L7",
        "A heartbeat that was appended before its minute and the grace were over closes nothing.",
        ("barstream/partition/machine.py:PartitionMachine.add_heartbeat",),
        (),
        ("barstream/verify/proof.py:Heartbeats",),
    ),
    Law(
        "L8",
        "A minute without a tick has the close before it as its four prices, volume 0, and is "
        "synthetic; without a close before it there is no bar, and that is counted.",
        ("barstream/model/bar.py:synthetic_bar", "barstream/rules/close.py:close_series"),
        (f"{_SERIES}.flat",),
        ("barstream/verify/completeness.py:Completeness",),
    ),
    Law(
        "L9",
        "From the first open after so many trading dates without an accepted tick a series "
        "sleeps: nothing more is filled, and nothing before the tick that wakes it.",
        (
            "barstream/market/session.py:RowsSchedule.asleep_from",
            "barstream/rules/close.py:close_series",
        ),
        (f"{_SERIES}.asleep_from",),
        ("barstream/verify/expected_minutes.py:expected_minutes",),
    ),
    Law(
        "L10",
        "A late tick is rejected, or it revises its bar and all that follows from it; which, "
        "says the policy, and how often, the revision.",
        ("barstream/rules/late.py:revise",),
        (f"{_SERIES}.late",),
        ("barstream/verify/rejections.py:Rejections",),
    ),
    Law(
        "L11",
        "A longer bar is the fold of its children, and equals the bar straight from its ticks.",
        ("barstream/rules/rollup_fold.py:fold",),
        ("tests/reference/rollups.py:History",),
        ("barstream/verify/rollup_fold.py:roll",),
    ),
    Law(
        "L12",
        "A longer bar is final with the last in-session minute of its bucket, and not at its "
        "nominal end.",
        ("barstream/rules/rollup.py:RollUps.judge",),
        ("tests/reference/rollups.py:History",),
        ("barstream/verify/rollups.py:Uppers",),
    ),
    Law(
        "L13",
        "Every due minute of a live series gets its heartbeat: after any outage none is left "
        "out, in order.",
        ("barstream/rules/heartbeat_plan.py:plan", "barstream/heartbeat/recovery.py:recover"),
        (),
        ("barstream/verify/completeness.py:Completeness",),
    ),
    Law(
        "L14",
        "Heartbeats come from the worker that holds partition 0 of `hb_1m`, and it stops first "
        "when it is taken away.",
        ("barstream/heartbeat/leader.py:Leader", "barstream/heartbeat/leader.py:LeaderState"),
    ),
    Law(
        "L15",
        "What a flush writes appears together or not at all, and after a crash the same bytes "
        "come again.",
        (
            "barstream/runtime/partition_task.py:PartitionTask.flush",
            "barstream/kafka/writer.py:PartitionWriter",
        ),
        (),
        ("barstream/verify/published_bars.py:read_published",),
    ),
    Law(
        "L16",
        "A tick that is refused stands in `ticks_rejected` once, with its bytes and the reason, "
        "and stops nothing.",
        ("barstream/partition/machine.py:PartitionMachine.apply_ticks",),
        (),
        ("barstream/verify/rejections.py:Rejections",),
    ),
    Law(
        "L17",
        "A series is at home where its ticks were seen first; those of another partition are "
        "rejected.",
        ("barstream/market/universe.py:Universe",),
        (),
        ("barstream/verify/rejections.py:Rejections",),
    ),
    Law(
        "L18",
        "What was judged by the rules of its time is not judged again by those of today.",
        (
            "barstream/partition/machine.py:PartitionMachine.change_rules",
            "barstream/log/rules.py:Regimes",
        ),
        (),
        ("barstream/verify/tick_class.py:Judge",),
    ),
    Law(
        "L19",
        "No live record follows the final of its bucket, and after it the live record equals it.",
        ("barstream/partition/outbox.py:Outbox.take", "barstream/runtime/flush.py:build_flush"),
        (),
        ("barstream/verify/live.py:check_live",),
    ),
    Law(
        "L20",
        "A worker goes on with the very log that it applied, or stops with what mends it.",
        (
            "barstream/runtime/intake.py:Intake",
            "barstream/kafka/topic_monitor.py:TopicMonitor",
            "barstream/kafka/continuity.py:check_continued",
        ),
    ),
    Law(
        "L21",
        "A series that was dropped is as if its ticks and heartbeats of before had never been "
        "there.",
        ("barstream/series/drop.py:Drop", "barstream/codecs/topics/withdrawal.py:Withdrawn"),
        (),
        ("barstream/verify/tick_class.py:Judge",),
    ),
    Law(
        "L22",
        "Which series a full partition has taken follows from its log alone.",
        ("barstream/rules/series_limit.py:fills",),
        (),
        ("barstream/verify/tick_class.py:Judge",),
    ),
    Law(
        "L23",
        "A replay by the rules of the log gives the published bytes.",
        ("barstream/replay/derive.py:derive",),
    ),
)


def held(tests: Path = ROOT / "tests") -> Iterator[tuple[str, str, str]]:
    """Number of the law, file and name of each test that is marked with one."""
    for path in sorted(tests.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.law":
                    for number in mark.args:
                        assert isinstance(number, ast.Constant)
                        yield str(number.value), path.relative_to(ROOT).as_posix(), node.name


def page() -> str:
    """The page of all laws."""
    by_law: dict[str, list[tuple[str, str]]] = {law.number: [] for law in LAWS}
    for number, path, name in held():
        by_law[number].append((path, name))
    rows = [
        "# Laws",
        "",
        "What always holds, where each stands, and what holds it. A law that the definition of a",
        "bar has is in [the reference](../tests/reference/series.py), one tick at a time; one that",
        "leaves something in the topics is recomputed by `barstream verify`. Made by",
        "`python -m tests.laws`.",
        "",
        "| | law | code | reference | verifier | tests |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for law in LAWS:
        places = [_links(some) or "-" for some in (law.code, law.reference, law.verifier)]
        tests = "<br>".join(
            f"[{name.removeprefix('test_').replace('_', ' ')}](../{path})"
            for path, name in by_law[law.number]
        )
        rows.append(f"| {law.number} | {law.text} | {' | '.join(places)} | {tests} |")
    return "\n".join(rows) + "\n"


def _links(places: tuple[str, ...]) -> str:
    found = (place.split(":") for place in places)
    return "<br>".join(f"[`{name}`](../{path})" for path, name in found)


if __name__ == "__main__":
    sys.stdout.write(page())
