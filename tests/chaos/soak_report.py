"""What was seen in a soak, what must hold of it, and the page that tells both to a stranger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

Spread = tuple[float, float, float]
"""Median, 99 % and most of some latencies, in seconds."""

#: What the last third may have more of than the middle one: a ratio, and an amount beside it.
_MEMORY: Final = (1.05, 10.0)
_FILES: Final = (1.05, 12.0)
_LINES: Final = (1.25, 5.0)
_MEDIAN: Final = (1.25, 0.5)
_TAIL: Final = (1.25, 3.0)
_LINES_A_MINUTE: Final = 60.0
_CAUGHT_UP_S: Final = 60.0
_RATE_HELD: Final = 0.98
#: Of reads that get no bars: for so long after a kill, and so many beside.
_AWAY_S: Final = 30.0
_REFUSED: Final = 0.02
#: Of HTTP reads: bars, no such series yet, a partition that nobody has ready; and no answer at all.
_EXPECTED: Final = ("200", "404", "503", "none")


@dataclass(frozen=True)
class Look:
    """One look at a worker.

    Attributes:
        minutes: since the beginning.
        worker: in which place; the place of one that is killed is taken by the next.
        pid: of its process.
        memory_mib: resident.
        descriptors: files, sockets and the like that it has open.
    """

    minutes: float
    worker: str
    pid: int
    memory_mib: float
    descriptors: int


@dataclass(frozen=True)
class Kill:
    """A worker that was killed, and the seconds until all was as before; None: it never was."""

    minutes: float
    worker: str
    caught_up_s: float | None


@dataclass
class Period:
    """What was counted between two moments, in minutes since the beginning.

    Attributes:
        ticks: that were acknowledged.
        log_lines: of all workers.
        final_s: from the end of the grace until a final was in Kafka.
        live_s: from the newest tick of a live bar until that was in Kafka.
        reads: answers by status; ``none``: no answer.
        cores: CPU time taken by whom, in cores.
    """

    begin: float
    end: float
    ticks: int = 0
    log_lines: int = 0
    final_s: Spread | None = None
    live_s: Spread | None = None
    reads: dict[str, int] = field(default_factory=dict)
    cores: dict[str, float] = field(default_factory=dict)

    @property
    def minutes(self) -> float:
        """How long it is."""
        return self.end - self.begin


@dataclass
class Soak:
    """All that was seen of one soak.

    Attributes:
        minutes: how long ticks came.
        rate: ticks a second asked for.
        stays: the worker that is not killed.
        ended: workers that ended by themselves, and their last words.
        settled_s: from the last tick until everything was applied; None: it never was.
        verify: how `barstream verify` ended, and its summary.
        setting: of the machine and the versions, by name.
    """

    minutes: float
    rate: int
    series: int
    kill_every: float
    stays: str
    looks: list[Look] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    periods: list[Period] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    settled_s: float | None = None
    verify: tuple[int, dict[str, Any]] | None = None
    setting: dict[str, str] = field(default_factory=dict)

    @property
    def reads(self) -> Counter[str]:
        """Answers of the whole time."""
        return sum((Counter(period.reads) for period in self.periods), Counter())

    def third(self, number: int) -> list[Period]:
        """Periods of the first, second or last third of the time, 0 to 2."""
        size = len(self.periods) // 3
        first = len(self.periods) - (3 - number) * size
        return self.periods[first : first + size]


@dataclass(frozen=True)
class Finding:
    """Something that must hold, and whether it did."""

    what: str
    rule: str
    seen: str
    holds: bool


def findings(soak: Soak) -> list[Finding]:
    """Everything that must hold of a soak."""
    if not soak.third(1):
        few = f"{len(soak.periods)} periods"
        return [Finding("length", "three periods or more, to have thirds", few, holds=False)]
    return [*_load(soak), *_footprint(soak), _log(soak), *_latency(soak), *_outcome(soak)]


def _load(soak: Soak) -> list[Finding]:
    rate = sum(period.ticks for period in soak.periods) / (soak.minutes * 60)
    return [
        Finding(
            "ticks a second",
            f"{_RATE_HELD:.0%} of {soak.rate:,} or more, else the load was not what it says",
            f"{rate:,.0f}",
            rate >= _RATE_HELD * soak.rate,
        )
    ]


def _footprint(soak: Soak) -> list[Finding]:
    found = []
    for worker in sorted({look.worker for look in soak.looks}):
        name = "the worker that stays" if worker == soak.stays else "the one that is killed"
        looks = [
            [look for look in soak.looks if look.worker == worker and _in(look, third)]
            for third in (soak.third(1), soak.third(2))
        ]
        memory = [[look.memory_mib for look in third] for third in looks]
        found.append(_growth(f"memory of {name}", memory, _MEMORY, " MiB"))
        files = [[float(look.descriptors) for look in third] for third in looks]
        found.append(_growth(f"open files of {name}", files, _FILES, ""))
    return found


def _in(look: Look, periods: Sequence[Period]) -> bool:
    return periods[0].begin <= look.minutes <= periods[-1].end


def _log(soak: Soak) -> Finding:
    before, after = (
        sum(each.log_lines for each in third) / sum(each.minutes for each in third)
        for third in (soak.third(1), soak.third(2))
    )
    ratio, more = _LINES
    most = max(period.log_lines / period.minutes for period in soak.periods)
    return Finding(
        "log lines a minute",
        f"at most {_LINES_A_MINUTE:g}, and in the last third at most {ratio:g} times those of the "
        f"middle one and {more:g}",
        f"{before:.1f} in the middle third, {after:.1f} in the last; {most:.1f} at most",
        after <= before * ratio + more and most <= _LINES_A_MINUTE,
    )


def _latency(soak: Soak) -> list[Finding]:
    found = []
    kinds: tuple[tuple[str, Callable[[Period], Spread | None]], ...] = (
        ("finals", lambda period: period.final_s),
        ("live bars", lambda period: period.live_s),
    )
    for name, of in kinds:
        judged = [*soak.third(1), *soak.third(2)]
        if silent := sum(of(period) is None for period in judged):
            said = f"none in {silent} of the last {len(judged)} periods"
            found.append(Finding(name, "some in every period", said, holds=False))
            continue
        for at, label, allowed in ((0, "median", _MEDIAN), (1, "99 %", _TAIL)):
            values = [
                [spread[at] for period in third if (spread := of(period)) is not None]
                for third in (soak.third(1), soak.third(2))
            ]
            found.append(_growth(f"{name}, {label}", values, allowed, " s"))
    return found


def _growth(
    what: str, thirds: Sequence[Sequence[float]], allowed: tuple[float, float], unit: str
) -> Finding:
    """Whether the median of the last third is about that of the middle one."""
    ratio, more = allowed
    rule = (
        f"the median of the last third is at most {ratio:g} times that of the middle one and "
        f"{more:g}{unit}"
    )
    if not all(thirds):
        return Finding(what, rule, "not seen in a whole third", holds=False)
    before, after = map(median, thirds)
    digits = 2 if unit == " s" else 0
    seen = f"{before:.{digits}f}{unit} in the middle third, {after:.{digits}f}{unit} in the last"
    return Finding(what, rule, seen, after <= before * ratio + more)


def _outcome(soak: Soak) -> list[Finding]:
    late = [kill for kill in soak.kills if (kill.caught_up_s or 1e9) > _CAUGHT_UP_S]
    took = sorted(kill.caught_up_s for kill in soak.kills if kill.caught_up_s is not None)
    seen = f"{len(soak.kills)} kills"
    if took:
        seen += f": median {median(took):.1f} s, longest {took[-1]:.1f} s"
    if late:
        seen += "; not after those at minute " + ", ".join(f"{kill.minutes:.1f}" for kill in late)
    reads = soak.reads
    asked, refused = sum(reads.values()), reads["503"] + reads["none"]
    allowed = len(soak.kills) * _AWAY_S / (soak.minutes * 60) + _REFUSED
    other = sorted(status for status in reads if status not in _EXPECTED and reads[status])
    code, summary = soak.verify or (None, {})
    said = "not run" if code is None else f"it ended {code}"
    if summary:
        bars, ticks = sum(summary["bars"].values()), summary["ticks"]["read"]
        said += f" after {bars:,} bars of {ticks:,} ticks, {summary['differences']:,} differences"
    return [
        Finding(
            "after a kill",
            f"both workers have partitions again and are less than a second of ticks behind, "
            f"within {_CAUGHT_UP_S:g} s",
            seen,
            bool(soak.kills) and not late,
        ),
        Finding(
            "reads",
            f"at most {allowed:.0%} are refused or not answered, which is {_AWAY_S:g} s after each "
            f"kill and {_REFUSED:.0%} beside, and none by an error of the server",
            _reads(reads),
            reads["200"] > 0 and refused <= allowed * asked and not other,
        ),
        Finding(
            "workers that ended by themselves",
            "none",
            "; ".join(soak.ended) or "none",
            not soak.ended,
        ),
        Finding(
            "after the last tick",
            "everything that was sent is applied",
            "it was not" if soak.settled_s is None else f"after {soak.settled_s:.0f} s",
            soak.settled_s is not None,
        ),
        Finding("verify", "every bar is right: it ends 0", said, code == 0),
    ]


def _reads(reads: Counter[str]) -> str:
    names = {"none": "no answer"}
    return ", ".join(f"{names.get(key, key)}: {n:,}" for key, n in sorted(reads.items()) if n)


HEAD: Final = "  min       ticks  lines  final: 50 %   99 %   most  live: 50 %   99 %   most  reads"


def line(period: Period) -> str:
    """Of a period, below `HEAD`."""
    return (
        f"{period.end:5.1f} {period.ticks:11,} {period.log_lines:6}      "
        f"{_cells(period.final_s)}       {_cells(period.live_s)}  {_reads(Counter(period.reads))}"
    )


def _cells(spread: Spread | None) -> str:
    return "      -" * 3 if spread is None else "".join(f"{each:7.2f}" for each in spread)


def page(soak: Soak) -> str:
    """Markdown for somebody who was not there."""
    found = findings(soak)
    parts = [_introduction(soak, found), _found(found), _over_time(soak), _resources(soak)]
    return "\n".join([*parts, _kills(soak)]).rstrip() + "\n"


def _introduction(soak: Soak, found: Sequence[Finding]) -> str:
    failed = [each.what for each in found if not each.holds]
    verdict = "All of it held." if not failed else f"It did not hold: {', '.join(failed)}."
    setting = "".join(f"- {name}: {value}\n" for name, value in soak.setting.items())
    return f"""# Soak

Written by `python -m tests.chaos.soak --minutes {soak.minutes:g} --report docs/soak.md`.
For {soak.minutes:g} minutes {soak.rate:,} ticks a second of {soak.series:,} series went through
two workers on real Apache Kafka, three readers asked for bars over HTTP all the time, and every
{soak.kill_every:g} minutes one of the workers was killed with `kill -9` and started again. Broker,
workers, feed, readers and what looks at them shared one machine. {verdict}

{setting}
*Flat* is judged by thirds. The first third is left out, because caches fill and tables get their
shape; the last third must be like the middle one. A third of the time has kills, takeovers and
compactions like any other, so what it has more is growth.
"""


def _found(found: Sequence[Finding]) -> str:
    lines = ["## What must hold", "", "| | rule | seen | |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {each.what} | {each.rule} | {each.seen} | {'yes' if each.holds else '**no**'} |"
        for each in found
    ]
    return "\n".join(lines) + "\n"


def _over_time(soak: Soak) -> str:
    lines = [
        "## Over the time",
        "",
        "*Final*: from the end of a minute and its grace until its bar was in Kafka as final.",
        "*Live*: from the newest tick of a bar that is open until that bar was in Kafka; some are",
        "looked at. Median, 99 % and most. A kill delays the partitions of the killed worker by",
        "the session timeout and what taking over takes.",
        "",
        "| minutes | ticks | lines a minute | final: 50 %, 99 %, most | live: the same | reads |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {each.begin:g} to {each.end:g} | {each.ticks:,} | {each.log_lines / each.minutes:.1f} "
        f"| {_spread(each.final_s)} | {_spread(each.live_s)} | {_reads(Counter(each.reads))} |"
        for each in soak.periods
    ]
    return "\n".join(lines) + "\n"


def _spread(spread: Spread | None) -> str:
    return "none" if spread is None else ", ".join(f"{each:.2f}" for each in spread) + " s"


def _resources(soak: Soak) -> str:
    workers = sorted({look.worker for look in soak.looks}, key=lambda name: name != soak.stays)
    parts = sorted({name for period in soak.periods for name in period.cores})
    names = [
        f"{'stays' if worker == soak.stays else 'is killed'}: {what}"
        for worker in workers
        for what in ("MiB", "files")
    ]
    heads = ["minutes", *names, *(f"cores: {part}" for part in parts)]
    lines = [
        "## What it took",
        "",
        "Resident memory and open files of each worker: median, and most. Cores: CPU time by time.",
        "",
        f"| {' | '.join(heads)} |",
        "| --- " * len(heads) + "|",
    ]
    for period in soak.periods:
        cells = [f"{period.begin:g} to {period.end:g}"]
        for worker in workers:
            looks = [each for each in soak.looks if each.worker == worker and _in(each, [period])]
            cells.append(_most([each.memory_mib for each in looks]))
            cells.append(_most([each.descriptors for each in looks]))
        cells += [f"{period.cores.get(part, 0):.2f}" for part in parts]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _most(values: Sequence[float]) -> str:
    return "none" if not values else f"{median(values):.0f}, {max(values):.0f}"


def _kills(soak: Soak) -> str:
    lines = ["## Kills", "", "| at minute | worker | caught up after |", "| --- | --- | --- |"]
    lines += [
        f"| {kill.minutes:.1f} | {kill.worker} | "
        f"{'never' if kill.caught_up_s is None else f'{kill.caught_up_s:.1f} s'} |"
        for kill in soak.kills
    ]
    return "\n".join(lines) + "\n"
