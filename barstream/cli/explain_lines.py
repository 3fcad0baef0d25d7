"""The report of ``barstream explain`` for people."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from barstream.cli.bar_lines import decimals_of
from barstream.model.bar_fields import PRICES

Report = Mapping[str, Any]

_SESSIONS: Final = {
    "session": "session",
    "  before": "session_before",
    "  after": "session_after",
}
#: Of the missing children so many are named.
_NAMED: Final = 5
#: So many ticks are printed whatever they did, and so many that were refused for one reason.
_FEW: Final = 5
#: A busy minute has hundreds of live versions: so many of the first and of the last are printed.
_LIVE_ENDS: Final = 3
#: Longer lines are hard to read on whatever terminal.
_WIDEST: Final = 100
_STYLES: Final = {"final": "green", "open": "yellow", "missing": "red"}


def show(report: Report, console: Console | None = None, *, all_ticks: bool = False) -> None:
    """Print a report; that of the minute an upper bar waits for stands below it.

    Args:
        report: with all ticks.
        console: the terminal, if none is given.
        all_ticks: print every one, not only the first few and those that made the prices.
    """
    out = Lines(console or Console(highlight=False, soft_wrap=True))
    _show(report, out, all_ticks=all_ticks)


def _show(report: Report, out: Lines, *, all_ticks: bool) -> None:
    name = f"{report['broker']} {report['symbol']} {report['timeframe']}"
    title = Text(f"{name} {report['bucket_start']}  ", style="bold")
    out.print(title.append(report["status"], style=_STYLES[report["status"]]))
    out.say("", report["explanation"], indent=0)
    if report["what_to_do"]:
        out.say("  do:", report["what_to_do"], indent=6)
    _sessions(out, report)
    _versions(out, report)
    _closing(out, report)
    if report.get("price_from"):
        source = report["price_from"]
        out.say("price from", f"{source['bucket_start']} close {_price(source['close'])}")
    if "ticks" in report:
        _ticks(out, report, all_ticks=all_ticks)
        _refused(out, report, all_ticks=all_ticks)
    if "children" in report:
        _children(out, report)
    for note in report["notes"]:
        out.say("note", note)
    _standing(out, report)
    if "waiting_minute" in report:
        out.print(Text(""))
        _show(report["waiting_minute"], out, all_ticks=all_ticks)


def _sessions(out: Lines, report: Report) -> None:
    for label, key in _SESSIONS.items():
        # where no session holds the minute the explanation names its neighbours
        if report[key] and _short(report[key]["open"]) not in report["explanation"]:
            out.say(label, _session(report[key]))
    if report["session_written"]:
        out.say("", f"its row was written at {_short(report['session_written'])}")


def _session(session: Report) -> str:
    return (
        f"{session['trading_date']} number {session['session']}, {_short(session['open'])} to "
        f"{_short(session['close'])}"
    )


def _versions(out: Lines, report: Report) -> None:
    versions = [("final", one) for one in report["finals"]]
    versions += [("live", one) for one in report["live"]]
    bars = [one for _, one in versions if "deleted" not in one]
    if not versions:
        return
    titles = (
        "topic", "offset", "appended", *PRICES, "volume", "ticks", "rev",
        "tick offsets", "close_offset",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = [titles]
    decimals = decimals_of(bars) if bars else 2
    volume_decimals = decimals_of(bars, ("volume",), 0)
    left_off = len(report["live"]) - 2 * _LIVE_ENDS
    first_off = len(report["finals"]) + _LIVE_ENDS
    for at, (topic, one) in enumerate(versions):
        if left_off > 1 and first_off <= at < first_off + left_off:
            if at == first_off:
                rows.append(("live", f"... {left_off} more: --json"))
            continue
        place = topic, str(one["offset"]), _short(one["append_time"])
        if "deleted" in one:
            rows.append((*place, "deleted"))
            continue
        prices = [f"{one[field]:.{decimals}f}" for field in PRICES]
        offsets = (
            "" if one["first_offset"] is None else f"{one['first_offset']}..{one['last_offset']}"
        )
        close = "" if one["close_offset"] is None else str(one["close_offset"])
        count = "none" if one["synthetic"] else str(one["tick_count"])
        sums = f"{one['volume']:,.{volume_decimals}f}", count, str(one["revision"])
        rows.append((*place, *prices, *sums, offsets, close))
    out.columns(rows, keys=2, rest=titles.index("ticks"))


def _closing(out: Lines, report: Report) -> None:
    closing = report.get("closed_by")
    if not closing:
        return
    out.say("closed by", closing["explanation"])
    beat = closing["heartbeat"]
    if beat:
        out.say(
            "",
            f"heartbeat for {beat['bucket_start']}: sent {_short(beat['sent_at'])}, "
            f"appended {_short(beat['append_time'])}, barrier {beat['barrier']}",
        )


def _ticks(out: Lines, report: Report, *, all_ticks: bool) -> None:
    ticks = report["ticks"]
    if not ticks["in_log"]:
        if report["partition"]:
            out.say("ticks", "none of this minute in the log")
        return
    given = ticks["given_by"] or {}
    why: dict[int, list[str]] = {}
    for name in PRICES:
        if name in given:
            why.setdefault(given[name], []).append(name)
    rejected = {one["offset"]: one["reason"] for one in report["rejected"]}
    out.say("ticks", _counted(report, ticks))
    rows: list[tuple[str, ...]] = [("  offset", "event time", "price", "size", "appended", "")]
    decimals = (
        decimals_of((one for one in ticks["shown"] if one["price"] is not None), ("price",)),
        decimals_of((one for one in ticks["shown"] if one["size"] is not None), ("size",), 0),
    )
    wanted = {at for at, one in enumerate(ticks["shown"]) if one["offset"] in (*why, *rejected)}
    kept = _kept(len(ticks["shown"]), wanted, all_ticks=all_ticks)
    for at, before in zip(kept, [-1, *kept], strict=False):
        tick = ticks["shown"][at]
        if at > before + 1:
            rows.append((f"  ... {at - before - 1} more: --ticks all",))
        mark = ", ".join([*why.get(tick["offset"], []), *_if(rejected.get(tick["offset"]))])
        rows.append((*_cells(tick, decimals), mark))
    left = len(ticks["shown"]) - 1 - kept[-1] if kept else 0
    rows += [(f"  ... {left} more: --ticks all",)] if left else []
    out.columns(rows, keys=1)


def _kept(count: int, wanted: set[int], *, all_ticks: bool) -> list[int]:
    """Which of ``count`` ticks are printed: the first few and those wanted; no gap is of one."""
    few = wanted | set(range(min(_FEW, count)))
    return [
        at
        for at in range(count)
        if all_ticks or at in few or (at - 1 in few and (at + 1 in few or at == count - 1))
    ]


def _refused(out: Lines, report: Report, *, all_ticks: bool) -> None:
    shown = [("rejected", one) for one in report["rejected"]]
    shown += [
        ("elsewhere", one | {"reason": "partition", "detail": "not the partition of the series"})
        for one in report["in_other_partitions"]
    ]
    shown += [("no tick", one) for one in report["no_ticks"]]
    printed: Counter[tuple[str, str]] = Counter()
    alike = Counter((label, one["reason"]) for label, one in shown)
    for label, one in shown:
        kind = label, one["reason"]
        printed[kind] += 1
        if printed[kind] > _FEW and not all_ticks:
            if printed[kind] == alike[kind]:
                out.say(label, f"{one['reason']}: {alike[kind] - _FEW} more: --ticks all")
            continue
        where = f"partition {one['partition']} offset {one['offset']}"
        when = f" event time {_short(one['time'])}" if one["time"] else ""
        when += "" if one["price"] is None else f" price {_price(one['price'])}"
        out.say(label, f"{one['reason']}: {where}{when}: {one['detail']}")


def _children(out: Lines, report: Report) -> None:
    kids = report["children"]
    out.say(
        "children",
        f"{kids['real'] + kids['synthetic']} {kids['timeframe']}, "
        f"{kids['expected']} expected by the schedule of now: "
        f"{kids['real']} with ticks, {kids['synthetic']} synthetic, {kids['revised']} revised, "
        f"{kids['missing']} missing",
    )
    if kids["first_missing"]:
        out.say("", f"missing: {_some(kids['first_missing'], kids['missing'])}")
    last = report.get("last_minute")
    if last:
        out.say("", f"{last['bucket_start']} closed by {last['explanation']}")
    if kids["given_by"]:
        given = ", ".join(f"{name} {start}" for name, start in kids["given_by"].items())
        out.say("", f"given by: {given}")


def _standing(out: Lines, report: Report) -> None:
    series, stand = report["series"], report["partition"]
    if stand:
        out.say(
            "partition",
            f"{stand['partition']} (by {stand['known_by']}): applied to "
            f"{stand['applied_to']} of {stand['end']}, lag {stand['lag']}; heartbeats used to "
            f"{stand['heartbeats_used_to']} of {stand['heartbeats_end']}",
        )
    if series:
        kind = "live" if series["live"] else "historical"
        out.say(
            "series",
            f"{kind}, closed until {_short(series['closed_until'])}, watermark "
            f"{_short(series['watermark'])}, first tick {_short(series['first_tick'])}, last "
            f"trading date {series['last_trading_date']}",
        )


def _counted(report: Report, ticks: Report) -> str:
    """``3 in the log, 2 in the bar, 1 rejected``: they add up."""
    bar = "the bar" if report["status"] == "final" else "the open bar"
    counts = [f"{ticks['in_log']} in the log"]
    counts += [f"{ticks['accepted']} in {bar}"] if ticks["accepted"] else []
    counts += [f"{len(report['rejected'])} rejected"] if report["rejected"] else []
    counts += [f"{ticks['waiting']} not applied yet"] if ticks["waiting"] else []
    return ", ".join(counts)


class Lines:
    """Labelled lines; on a terminal none is wider than that, nor than `_WIDEST`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, _WIDEST) if console.is_terminal else None

    def print(self, text: Text) -> None:
        """A line as it is."""
        self._console.print(text, soft_wrap=True)

    def say(self, label: str, text: str, indent: int = 12) -> None:
        """``text`` behind its label, and below itself where it needs more than a line."""
        lines = [text]
        if self._width is not None:
            room = max(20, self._width - indent)
            lines = textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)
        for number, line in enumerate(lines or [""]):
            self.print(Text(f"{'' if number else label:<{indent}}{line}"))

    def columns(self, rows: list[tuple[str, ...]], *, keys: int, rest: int | None = None) -> None:
        """Aligned, the first row a heading.

        Args:
            rows: cells; one shorter than the heading is a remark.
            keys: so many columns are repeated ...
            rest: ... where those from here on stand below, because all are too wide.
        """
        count = max(map(len, rows))
        whole = [row for row in rows if len(row) == count]
        widths = [max(len(row[at]) for row in whole) for at in range(count)]
        width = sum(widths) + 2 * (count - 1)
        if rest is None or self._width is None or width <= self._width:
            self._block(rows, widths, list(range(count)), count)
            return
        self._block(rows, widths, list(range(rest)), count)
        self._block(whole, widths, [*range(keys), *range(rest, count)], count)

    def _block(
        self, rows: list[tuple[str, ...]], widths: list[int], columns: list[int], count: int
    ) -> None:
        for number, row in enumerate(rows):
            is_remark = len(row) < count
            places = range(len(row)) if is_remark else columns
            line = "  ".join(row[at].ljust(widths[at]) for at in places).rstrip()
            self.print(Text(line, style="bold" if not number else ""))


def _cells(tick: Report, decimals: tuple[int, int]) -> tuple[str, ...]:
    """Prices and sizes with so many decimals; ``-`` where there is no number."""
    price, size = (
        "-" if tick[name] is None else f"{tick[name]:{mark}.{digits}f}"
        for name, mark, digits in zip(("price", "size"), ("", ","), decimals, strict=True)
    )
    times = _short(tick["time"]), _short(tick["append_time"])
    return (f"  {tick['offset']}", times[0], price, size, times[1])


def _price(price: float) -> str:
    return f"{price:.8f}".rstrip("0").rstrip(".")


def _short(text: str | None) -> str:
    """A time without microseconds that are none."""
    if text is None:
        return "-"
    whole, _, fraction = text.rstrip("Z").partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def _some(names: list[str], count: int) -> str:
    shown = names[:_NAMED]
    more = count - len(shown)
    return " ".join(shown) + (f" and {more} more" if more > 0 else "")


def _if(word: str | None) -> Iterable[str]:
    return () if word is None else (word,)
