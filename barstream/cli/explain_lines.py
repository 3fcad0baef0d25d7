"""The report of ``barstream explain`` for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from barstream.cli.bar_lines import decimals_of

Report = Mapping[str, Any]

_SESSIONS: Final = {
    "session": "session",
    "  before": "session_before",
    "  after": "session_after",
}
_PRICES: Final = ("open", "high", "low", "close")
#: Of the missing children so many are named.
_NAMED: Final = 5
#: So many rejected ticks are printed.
_REFUSED: Final = 40
#: A busy minute has hundreds of live versions: so many of the first and of the last are printed.
_LIVE_ENDS: Final = 3
_STYLES: Final = {"final": "green", "open": "yellow", "missing": "red"}


def show(report: Report, console: Console | None = None) -> None:
    """Print a report; that of the minute an upper bar waits for stands below it."""
    out = console or Console(highlight=False, soft_wrap=True)
    name = f"{report['broker']} {report['symbol']} {report['timeframe']}"
    title = Text(f"{name} {report['bucket_start']}  ", style="bold")
    out.print(title.append(report["status"], style=_STYLES[report["status"]]))
    out.print(Text(report["explanation"]))
    if report["what_to_do"]:
        out.print(Text(f"  do: {report['what_to_do']}"))
    _sessions(out, report)
    _versions(out, report)
    _closing(out, report)
    if report.get("price_from"):
        source = report["price_from"]
        out.print(
            Text(f"price from  {source['bucket_start']} close {_price(source['close'])}"),
        )
    if "ticks" in report:
        _ticks(out, report)
        _refused(out, report)
    if "children" in report:
        _children(out, report)
    for note in report["notes"]:
        out.print(Text(f"note        {note}"))
    _standing(out, report)
    if "waiting_minute" in report:
        out.print()
        show(report["waiting_minute"], out)


def _sessions(out: Console, report: Report) -> None:
    for label, key in _SESSIONS.items():
        if report[key]:
            out.print(Text(f"{label:<12}{_session(report[key])}"))
    if report["session_written"]:
        out.print(Text(f"{'':12}its row was written at {_short(report['session_written'])}"))


def _session(session: Report) -> str:
    return (
        f"{session['trading_date']} number {session['session']}, {_short(session['open'])} to "
        f"{_short(session['close'])}"
    )


def _versions(out: Console, report: Report) -> None:
    versions = [("final", one) for one in report["finals"]]
    versions += [("live", one) for one in report["live"]]
    bars = [one for _, one in versions if "deleted" not in one]
    if not versions:
        return
    titles = (
        "topic", "offset", "appended", "open", "high", "low", "close", "volume", "ticks", "rev",
        "tick offsets", "close_offset",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = [titles]
    decimals = decimals_of(bars) if bars else 2
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
        prices = [f"{one[field]:.{decimals}f}" for field in _PRICES]
        offsets = (
            "" if one["first_offset"] is None else f"{one['first_offset']}..{one['last_offset']}"
        )
        close = "" if one["close_offset"] is None else str(one["close_offset"])
        count = "none" if one["synthetic"] else str(one["tick_count"])
        sums = f"{one['volume']:g}", count, str(one["revision"])
        rows.append((*place, *prices, *sums, offsets, close))
    _columns(out, rows)


def _closing(out: Console, report: Report) -> None:
    closing = report.get("closed_by")
    if not closing:
        return
    out.print(Text(f"closed by   {closing['explanation']}"))
    beat = closing["heartbeat"]
    if beat:
        out.print(
            Text(
                f"{'':12}heartbeat for {beat['bucket_start']}: sent {_short(beat['sent_at'])}, "
                f"appended {_short(beat['append_time'])}, barrier {beat['barrier']}"
            )
        )


def _ticks(out: Console, report: Report) -> None:
    ticks = report["ticks"]
    if not ticks["in_log"]:
        if report["partition"]:
            out.print(Text("ticks       none of this minute in the log"))
        return
    given = ticks["given_by"] or {}
    why: dict[int, list[str]] = {}
    for name in _PRICES:
        if name in given:
            why.setdefault(given[name], []).append(name)
    rejected = {one["offset"]: one["reason"] for one in report["rejected"]}
    out.print(Text(f"ticks       {ticks['in_log']} in the log, {ticks['accepted']} in the bar"))
    rows: list[tuple[str, ...]] = [("  offset", "event time", "price", "size", "appended", "")]
    half = len(ticks["shown"]) // 2
    for at, tick in enumerate(ticks["shown"]):
        if ticks["left_off"] and at == half:
            rows.append((f"  ... {ticks['left_off']} more: --ticks all",))
        mark = ", ".join([*why.get(tick["offset"], []), *_if(rejected.get(tick["offset"]))])
        rows.append((*_cells(tick), mark))
    _columns(out, rows)


def _refused(out: Console, report: Report) -> None:
    shown = [("rejected", one) for one in report["rejected"]]
    shown += [
        ("elsewhere", one | {"reason": "partition", "detail": "not the partition of the series"})
        for one in report["in_other_partitions"]
    ]
    shown += [("no tick", one) for one in report["no_ticks"]]
    for label, one in shown[:_REFUSED]:
        where = f"partition {one['partition']} offset {one['offset']}"
        when = f" event time {_short(one['time'])}" if one["time"] else ""
        out.print(Text(f"{label:<12}{one['reason']}: {where}{when}: {one['detail']}"))
    if len(shown) > _REFUSED:
        out.print(Text(f"{'':12}and {len(shown) - _REFUSED} more: --json"))


def _children(out: Console, report: Report) -> None:
    kids = report["children"]
    out.print(
        Text(
            f"children    {kids['real'] + kids['synthetic']} {kids['timeframe']}, "
            f"{kids['expected']} expected by the schedule of now: "
            f"{kids['real']} with ticks, {kids['synthetic']} synthetic, {kids['revised']} revised, "
            f"{kids['missing']} missing"
        )
    )
    if kids["first_missing"]:
        out.print(Text(f"{'':12}missing: {_some(kids['first_missing'], kids['missing'])}"))
    last = report.get("last_minute")
    if last:
        out.print(Text(f"{'':12}{last['bucket_start']} closed by {last['explanation']}"))
    if kids["given_by"]:
        given = ", ".join(f"{name} {start}" for name, start in kids["given_by"].items())
        out.print(Text(f"{'':12}given by: {given}"))


def _standing(out: Console, report: Report) -> None:
    series, stand = report["series"], report["partition"]
    if stand:
        out.print(
            Text(
                f"partition   {stand['partition']} (by {stand['known_by']}): applied to "
                f"{stand['applied_to']} of {stand['end']}, lag {stand['lag']}; heartbeats used to "
                f"{stand['heartbeats_used_to']} of {stand['heartbeats_end']}"
            )
        )
    if series:
        kind = "live" if series["live"] else "historical"
        out.print(
            Text(
                f"series      {kind}, closed until {_short(series['closed_until'])}, watermark "
                f"{_short(series['watermark'])}, first tick {_short(series['first_tick'])}, last "
                f"trading date {series['last_trading_date']}"
            )
        )


def _columns(out: Console, rows: list[tuple[str, ...]]) -> None:
    """Aligned, the first row a heading; lines are as long as they are, so that none is cut."""
    count = max(map(len, rows))
    widths = [max(len(row[at]) for row in rows if len(row) > at + 1) for at in range(count - 1)]
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        line = "  ".join([*cells[: len(row)], *row[len(widths) :]])
        out.print(Text(line.rstrip(), style="bold" if not number else ""))


def _cells(tick: Report) -> tuple[str, ...]:
    return (
        f"  {tick['offset']}",
        _short(tick["time"]),
        _price(tick["price"]),
        f"{tick['size']:g}",
        _short(tick["append_time"]),
    )


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
