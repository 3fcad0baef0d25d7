"""The page of all results: what was done to each run, what came out, and which alerts held."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, Final

from tests.chaos.faults import KINDS
from tests.chaos.runs.alerts import Rule
from tests.chaos.runs.families import FAMILIES

#: What the page tells of the counts of `barstream verify`.
_COUNTS: Final = ("bars", "unproven", "schedule")

_FAMILY_COLUMNS: Final = (
    "family", "what", "runs", "clean", "faults", "ticks", "verified", "memory", "files", "takes",
    "commits",
)  # fmt: skip

_HEAD: Final = """# Fault runs

Written by `python -m tests.chaos.runs --report docs/fault-runs.md`. Each run is a pipeline of its
own on real Apache Kafka: a seeded feed, one to three workers that a supervisor starts again when
they end, and one to four faults at random moments. When the faults are over and the feed has ended,
the workers settle; then

- every tick that was acknowledged is in Kafka, and in exactly one bar or in `ticks_rejected`;
- no owner of a partition wrote anything after another had taken over (producer epochs in the log);
- under `reject` and fixed sessions, every bar, rejection and live record equals the plain
  one-tick-at-a-time reference of the tests;
- `barstream verify` finds no difference;
- no worker ended by itself unless a fault may end it.

`python -m tests.chaos.runs --only SEED` repeats a run: the seed decides feed, rules, workers,
faults and their moments, not what the machine makes of them. Faults that are *chosen* are not
drawn: they stand beside their seed in `tests/chaos/runs/chosen.py`. *Recovered* are the seconds
from the end of the faults and of the feed until every worker was ready and everything was applied,
on two cores that did other things as well. A run that was not clean is played again once its cause
was mended, and the page shows the last time; runs that were clean before stand as they were.

What these runs do not show. They were played on successive commits, not on one. Runs with
sessions that had been judged while `verify` excused a missing upper bar by any schedule row of
its date were played again after that was mended. Sessions are rewritten ahead of the feed, a
series is withdrawn after the verdict, and a tick in a second partition is sent once every worker
knows the first: `verify` cannot judge the harder forms from the topics. Reads are counted
whatever they were answered. The last 500s without a known cause came from a status asked while a
worker joined or left its group; that is mended, and runs 10 and 9005, where they were noticed,
gave none when they were played once more.
"""


_FAMILIES_HEAD: Final = """# Families of fault runs

Written by `python -m tests.chaos.runs --family --report docs/fault-families.md`. A run is a
pipeline of its own on real Apache Kafka: a seeded feed of ticks, one to three workers that a
supervisor starts again when they end, and faults at random moments. The
[fault runs](fault-runs.md) draw from what happens to any service. Those of a family draw one to
three faults of one kind, on the brokers and settings that these need, and up to two ordinary ones
beside them, such as a `kill -9`: what is bad alone is worse while a worker is killed.

When the faults are over and the feed has ended, the workers settle. A run is clean when then

- every tick that was acknowledged is in Kafka, and in exactly one bar or in `ticks_rejected`;
- no owner of a partition wrote anything after another had taken over (producer epochs in the log);
- under `reject` and fixed sessions, every bar, rejection and live record equals the plain
  one-tick-at-a-time reference of the tests;
- `barstream verify` finds no difference;
- no worker ended by itself unless a fault may end it;
- no worker took more memory or opened more files than [capacity.md](capacity.md) says;
- each alert of [alerts.yml](alerts.yml) that a fault must raise had its condition met.

`python -m tests.chaos.runs --family NAME --only SEED` repeats a run: the seed decides feed, rules,
workers, faults and their moments, not what the machine makes of them. *Recovered* are the seconds
from the end of the faults and of the feed until every worker was ready and everything was applied,
on two cores that did other things as well.
"""


def merged(results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One result a run, the last one, with what the page needs of it; by family and seed."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for row in results:
        # what was done and said is for whoever plays the run; that it was is for the page
        told = row | {"scenario": "", "did": [], "ended": [words[:40] for words in row["ended"]]}
        told["counts"] = {name: row["counts"][name] for name in _COUNTS if name in row["counts"]}
        found[row.get("family") or "", int(row["seed"])] = told
    return [found[key] for key in sorted(found)]


def page(results: Sequence[dict[str, Any]], rules: Sequence[Rule]) -> str:
    """Markdown of all results, by family and seed."""
    rows = sorted(results, key=lambda row: (row.get("family") or "", int(row["seed"])))
    parts = [_HEAD, _totals(rows), _by_kind(rows), _alerts(rows, rules), _runs(rows)]
    if all(row.get("family") for row in rows):
        parts[0] = _FAMILIES_HEAD
        parts[1] = _by_family(rows)
    return "\n".join(parts).rstrip() + "\n"


def _totals(rows: Sequence[dict[str, Any]]) -> str:
    played = [row for row in rows if not row["skipped"]]
    clean = [row for row in played if not row["problems"]]
    lines = [
        "## In all",
        "",
        "| | |",
        "| --- | --- |",
        f"| runs | {len(played)} |",
        f"| clean | {len(clean)} |",
        f"| differences found by `verify` | {sum(row['differences'] or 0 for row in played)} |",
        f"| faults | {sum(len(row['faults']) for row in played):,} |",
        f"| workers started | {sum(row['starts'] for row in played):,} |",
        f"| workers that ended by themselves | {sum(len(row['ended']) for row in played):,} |",
        f"| ticks | {sum(row['ticks'] for row in played):,} |",
        f"| finals of minutes | {sum(row['bars'] for row in played):,} |",
        f"| bars compared by `verify`, all timeframes | {sum(map(_verified, played)):,} |",
        f"| reads answered meanwhile | {_statuses(played)} |",
    ]
    if skipped := [row for row in rows if row["skipped"]]:
        lacking = sorted({row["skipped"] for row in skipped})
        lines.append(f"| runs left out | {len(skipped)}: {'; '.join(lacking)} |")
    return "\n".join(lines) + "\n"


def _by_family(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "## By family",
        "",
        f"| {' | '.join(_FAMILY_COLUMNS)} |",
        "| --- " * len(_FAMILY_COLUMNS) + "|",
    ]
    for name, family in FAMILIES.items():
        here = [row for row in rows if row["family"] == name and not row["skipped"]]
        if here:
            lines.append(
                f"| `{name}` | {family.what} | {len(here)} | "
                f"{sum(not row['problems'] for row in here)} | "
                f"{sum(len(row['faults']) for row in here)} | "
                f"{sum(row['ticks'] for row in here):,} | "
                f"{sum(map(_verified, here)):,}, {sum(row['differences'] or 0 for row in here)} | "
                f"{max(row['peak_mib'] for row in here):.0f} MiB | "
                f"{max(row['descriptors'] for row in here):,} | "
                f"{median(row['seconds'] for row in here):.0f} s | {_commits(here)} |"
            )
    lines += [
        "",
        "*Verified*: bars that `verify` compared, and differences; *memory* and *files*: the most",
        "that a worker had; *takes*: the median; *commits*: those it was played on, and how often.",
    ]
    if skipped := [row for row in rows if row["skipped"]]:
        lacking = sorted({row["skipped"] for row in skipped})
        lines.append(
            f"Left out were {len(skipped)} runs, as the machine lacks {'; '.join(lacking)}."
        )
    return "\n".join(lines) + "\n"


def _commits(rows: Sequence[dict[str, Any]]) -> str:
    found = Counter(row.get("commit") or "unknown" for row in rows)
    return ", ".join(f"{commit} {count}" for commit, count in found.most_common())


def _verified(row: dict[str, Any]) -> int:
    return sum(row["counts"].get("bars", {}).values())


def _faults(row: dict[str, Any]) -> str:
    return " ".join(row["faults"]) + (" (chosen)" if row["chosen"] else "")


def _statuses(rows: Iterable[dict[str, Any]]) -> str:
    counts: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        for status, count in row["reads"].items():
            counts[status] += count
    said = {"none": "no answer"}
    return ", ".join(f"{said.get(s, s)}: {counts[s]:,}" for s in sorted(counts))


def _by_kind(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "## By fault",
        "",
        "| fault | what | runs | not clean | recovered: median, longest | must raise |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, kind in KINDS.items():
        here = [row for row in rows if name in row["faults"] and not row["skipped"]]
        if not here:
            continue
        bad = sum(bool(row["problems"]) for row in here)
        seconds = [row["recovery_s"] for row in here]
        what = " ".join((kind.__doc__ or "").split("\n\n")[0].split()).rstrip(".")
        lines.append(
            f"| `{name}` | {what} | {len(here)} | {bad} | "
            f"{median(seconds):.1f} s, {max(seconds):.1f} s | {' '.join(sorted(kind.alerts))} |"
        )
    return "\n".join(lines) + "\n"


def _alerts(rows: Sequence[dict[str, Any]], rules: Sequence[Rule]) -> str:
    lines = [
        "## Alerts",
        "",
        "Runs in which the expression of a rule of [alerts.yml](alerts.yml) held, by what was",
        "scraped once a second. What `for` asks for beyond that is patience.",
        "",
        "| alert | metric | runs | for example seed |",
        "| --- | --- | --- | --- |",
    ]
    of_families = all(row.get("family") for row in rows)
    for rule in rules:
        seeds = [_seed(row) for row in rows if rule.name in row["fired"]]
        if of_families and not seeds:
            continue  # a fault run or a test shows it
        metrics = " ".join(f"`{name}`" for name in sorted(rule.metrics))
        example = ", ".join(seeds[:3]) or "**none**"
        lines.append(f"| {rule.name} | {metrics} | {len(seeds)} | {example} |")
    return "\n".join(lines) + "\n"


def _seed(row: dict[str, Any]) -> str:
    family = row.get("family")
    return f"{family} {row['seed']}" if family else str(row["seed"])


def _runs(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "## Every run",
        "",
        "`h` history, `l` live; `rej` reject, `rev` revise; `s` sessions, `24` 24x7; then brokers",
        "and workers, `+` with standbys, of families `p` partitions and the version of Kafka where",
        "that is an older one. Of `verify`: *U* what can no longer be proven, *S* what a newer",
        "schedule row explains, *D* differences.",
        "",
        "| seed | rules | faults | ticks | bars | U | S | D | recovered | starts | alerts |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if row["skipped"]:
            lines.append(f"| {_seed(row)} | left out: {row['skipped']} |" + " |" * 9)
            continue
        counts = row["counts"]
        wrong = "**not clean**" if row["problems"] else row["differences"]
        lines.append(
            f"| {_seed(row)} | {row['short']} | {_faults(row)} | {row['ticks']:,} | "
            f"{row['bars']:,} | {counts.get('unproven', '')} | {counts.get('schedule', '')} | "
            f"{wrong} | {row['recovery_s']:.1f} s | {row['starts']} | {len(row['fired'])} |"
        )
    return "\n".join(lines) + "\n"
