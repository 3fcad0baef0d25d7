"""An explanation as one JSON object: field names of the bar schema, times ISO 8601 UTC."""

from __future__ import annotations

import math
from typing import Any, Final

from barstream.codecs.topics.bar_json import bar_to_json
from barstream.codecs.topics.session import tolerance_to_json
from barstream.explain.close_cause import Closing, closing_of
from barstream.explain.facts import (
    Beat,
    Facts,
    RejectionFact,
    SeriesFact,
    Stand,
    Tick,
    Version,
)
from barstream.explain.rollups import UpperExplanation, UpperFacts, explain_upper
from barstream.explain.verdict import Explanation, Parts, explain
from barstream.market.schedule import Session
from barstream.model.time import iso_date_from_days, iso_from_us, iso_micros_from_us
from barstream.rules.series import NEVER_US

#: Of many ticks so many are shown from either end.
SHOWN: Final = 20

Json = dict[str, Any]


def report(facts: Facts | UpperFacts, *, all_ticks: bool = False) -> tuple[Json, int | None]:
    """The report, and of an upper bar the minute whose report says the rest."""
    if isinstance(facts, UpperFacts):
        upper = explain_upper(facts)
        return _upper_report(facts, upper), upper.told_by_us
    return _minute_report(facts, explain(facts), all_ticks=all_ticks), None


def closed_by(minute: Facts) -> Json | None:
    """What closed the last minute of an upper bar."""
    closing = None if minute.first is None else closing_of(minute, minute.first)
    if closing is None:
        return None
    return {"bucket_start": iso_from_us(minute.bucket_us), **_closing(closing)}


def _minute_report(facts: Facts, found: Explanation, *, all_ticks: bool) -> Json:
    return {
        **_head(facts, found),
        "closed_by": None if found.closing is None else _closing(found.closing),
        "ticks": _ticks(facts, found, all_ticks=all_ticks),
        "price_from": None if found.price_from is None else _version(found.price_from),
        "rejected": [_rejected(one) for one in found.places.rejected],
        "in_other_partitions": [_tick(tick) for tick in facts.elsewhere],
        "no_ticks": [_rejected(one) for one in facts.undated],
        **_tail(facts),
    }


def _upper_report(upper: UpperFacts, found: UpperExplanation) -> Json:
    counts = found.counts
    return {
        **_head(upper.facts, found.of),
        "children": {
            "timeframe": str(upper.child),
            "expected": counts.expected,
            "real": counts.real,
            "synthetic": counts.synthetic,
            "revised": counts.revised,
            "missing": counts.missing_count,
            "first_missing": [iso_from_us(start) for start in counts.missing],
            "given_by": {name: iso_from_us(start) for name, start in found.givers.items()},
        },
        "last_minute_until": _time(found.due_us),
        "over_by": None if upper.evidence is None else _beat(upper.evidence),
        "waits_for": None if found.waits_for_us is None else iso_from_us(found.waits_for_us),
        **_tail(upper.facts),
    }


def _head(facts: Facts, found: Explanation) -> Json:
    scheduled = facts.scheduled
    return {
        "broker": facts.broker,
        "symbol": facts.symbol,
        "timeframe": str(facts.period),
        "bucket_start": iso_from_us(facts.bucket_us),
        "status": found.status,
        "reason": found.reason,
        "explanation": found.sentence,
        "what_to_do": found.what_to_do,
        "notes": list(found.notes),
        "session": _session(scheduled.session),
        "session_written": _time(scheduled.row_appended_us),
        "session_before": _session(scheduled.before),
        "session_after": _session(scheduled.after),
        "finals": [_version(one) for one in facts.finals],
        "live": [_version(one) for one in facts.live],
    }


def _tail(facts: Facts) -> Json:
    return {
        "series": None if facts.row is None else _series(facts.row),
        "partition": None if facts.stand is None else _stand(facts.stand, seen=bool(facts.seen)),
        "similar": [" ".join(name) for name in facts.similar],
        "at": iso_micros_from_us(facts.now_us),
    }


def _ticks(facts: Facts, found: Explanation, *, all_ticks: bool) -> Json:
    accepted = found.places.accepted
    ticks = accepted or facts.ticks
    cut = not all_ticks and len(ticks) > 2 * SHOWN
    shown = [*ticks[:SHOWN], *ticks[-SHOWN:]] if cut else list(ticks)
    return {
        "in_log": max(len(facts.ticks), len(found.places.rejected)),
        "accepted": len(accepted),
        "waiting": len(found.places.waiting),
        "given_by": None if found.parts is None else _parts(found.parts),
        "left_off": len(ticks) - len(shown),
        "shown": [_tick(tick) for tick in shown],
    }


def _parts(parts: Parts) -> Json:
    return {
        "open": parts.open.offset,
        "high": parts.high.offset,
        "low": parts.low.offset,
        "close": parts.close.offset,
        "agrees": parts.agrees,
    }


def _closing(closing: Closing) -> Json:
    return {
        "by": closing.by,
        "close_offset": closing.close_offset,
        "explanation": closing.sentence,
        "tick": None if closing.tick is None else _tick(closing.tick),
        "heartbeat": None if closing.beat is None else _beat(closing.beat),
    }


def _version(version: Version) -> Json:
    place = {"offset": version.offset, "append_time": _time(version.appended_us)}
    return place | ({"deleted": True} if version.bar is None else bar_to_json(version.bar))


def _tick(tick: Tick) -> Json:
    return {
        "partition": tick.partition,
        "offset": tick.offset,
        "time": _time(tick.time_us),
        "price": None if math.isnan(tick.price) else tick.price,
        "size": None if math.isnan(tick.size) else tick.size,
        "append_time": _time(tick.appended_us),
    }


def _rejected(one: RejectionFact) -> Json:
    return {
        **_tick(one.tick),
        "reason": str(one.reason),
        "detail": one.detail,
        "rejected_offset": one.record_offset,
    }


def _beat(beat: Beat) -> Json:
    return {
        "offset": beat.offset,
        "append_time": _time(beat.appended_us),
        "bucket_start": iso_from_us(beat.minute_us),
        "barrier": beat.barrier,
        "sent_at": _time(beat.sent_at_us),
        "source": beat.source,
    }


def _session(session: Session | None) -> Json | None:
    if session is None:
        return None
    return {
        "trading_date": iso_date_from_days(session.trading_date),
        "session": session.number,
        "open": iso_micros_from_us(session.open_us),
        "close": iso_micros_from_us(session.close_us),
        **tolerance_to_json(session.close_tolerance_us),
    }


def _series(row: SeriesFact) -> Json:
    date = row.last_trading_date
    return {
        "closed_until": _time(row.closed_until_us),
        "watermark": _time(row.watermark_us),
        "first_tick": _time(row.first_tick_us),
        "last_trading_date": None if date is None else iso_date_from_days(date),
        "previous_close": row.previous_close,
        "live": row.live,
        "open_bars": [
            {"bucket_start": iso_from_us(bar.bucket_us), "tick_count": bar.tick_count}
            for bar in row.open_bars
        ],
    }


def _stand(stand: Stand, *, seen: bool) -> Json:
    return {
        "partition": stand.partition,
        "known_by": "series_seen" if seen else "its ticks",
        "applied_to": stand.position,
        "begin": stand.begin,
        "end": stand.end,
        "lag": stand.lag,
        "heartbeats_used_to": stand.heartbeat_position,
        "heartbeats_end": stand.heartbeat_end,
    }


def _time(time_us: int | None) -> str | None:
    """None of what is unknown or never."""
    if time_us is None or time_us == NEVER_US or time_us < 0:
        return None
    return iso_micros_from_us(time_us)
