"""From facts to an explanation of a minute; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from barstream.explain.absence import Absence, AbsenceReason, why_no_final
from barstream.explain.acceptance import Places, places_of
from barstream.explain.close_cause import Closing, closing_of
from barstream.explain.facts import Facts, Tick, Version
from barstream.explain.sentences import at, counted
from barstream.model.bar import Bar
from barstream.model.time import MINUTE_US

Status = Literal["final", "open", "missing"]


@dataclass(frozen=True, slots=True)
class Parts:
    """Which tick gave which value of a bar.

    Attributes:
        agrees: whether the accepted ticks that were found give the prices and the count published.
    """

    open: Tick
    high: Tick
    low: Tick
    close: Tick
    count: int
    agrees: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a minute's bar is as it is, or is not there.

    Attributes:
        status: ``final``, ``open`` (it has ticks and is not final) or ``missing``.
        sentence: the answer.
        reason: why there is no final; None of a final.
        what_to_do: the command or deed that mends it, if there is one.
        closing: what closed it, of a final.
        places: where the ticks of the minute are.
        parts: which of them gave which value.
        price_from: of a synthetic bar, the bar its price comes from.
        notes: what else is worth knowing, a sentence each.
    """

    status: Status
    sentence: str
    reason: AbsenceReason | None = None
    what_to_do: str | None = None
    closing: Closing | None = None
    places: Places = field(default_factory=Places)
    parts: Parts | None = None
    price_from: Version | None = None
    notes: tuple[str, ...] = ()


def explain(facts: Facts) -> Explanation:
    """Why the minute ``facts`` are of is as it is."""
    final = facts.final
    if final is not None and final.bar is not None:
        return _explain_final(facts, final, final.bar)
    absence = why_no_final(facts)
    places = places_of(facts, None)
    is_open = facts.open_bar is not None or (
        bool(facts.live)
        and facts.live[-1].bar is not None
        and absence.reason is not AbsenceReason.DELETED
    )
    return Explanation(
        "open" if is_open else "missing",
        _open_sentence(facts, absence) if is_open else f"no bar: {absence.sentence}",
        absence.reason,
        absence.what_to_do,
        places=places,
        parts=_parts(places.accepted, None) if is_open else None,
        notes=tuple(_notes(facts, places)),
    )


def _open_sentence(facts: Facts, absence: Absence) -> str:
    bar = facts.open_bar
    held = "" if bar is None else f" with {counted(bar.tick_count)}"
    return f"open{held}, not final yet: {absence.sentence}"


def _explain_final(facts: Facts, final: Version, bar: Bar) -> Explanation:
    closing = closing_of(facts, facts.first or final)
    places = places_of(facts, bar)
    notes = _notes(facts, places)
    if bar.revision:
        notes.insert(
            0,
            f"revision {bar.revision}: late ticks were merged into it or into the bar its price "
            "comes from, or a replay was switched over to",
        )
    session = facts.scheduled.session
    judged = bar.trading_date, bar.session
    if session is None or (session.trading_date, session.number) != judged:
        notes.append(
            "the schedule has changed since: the bar keeps the trading date and session it was "
            "judged by"
        )
    if bar.synthetic:
        source = facts.neighbours.real_before
        return Explanation(
            "final",
            "final, synthetic: no tick of the minute was accepted before it closed, so it "
            "repeats the close before it",
            closing=closing,
            places=places,
            price_from=source,
            notes=tuple(notes),
        )
    accepted = places.accepted
    parts = _parts(accepted, bar)
    if places.taken_in:
        notes.append(
            f"{counted(len(places.taken_in))} rejected as late when it became final, and taken in "
            "when it was written anew"
        )
    if parts is None or not parts.agrees:
        notes.append(_disagreement(facts, accepted, bar))
    return Explanation(
        "final",
        f"final, made of {counted(bar.tick_count)}",
        closing=closing,
        places=places,
        parts=parts,
        notes=tuple(notes),
    )


def _parts(accepted: Sequence[Tick], bar: Bar | None) -> Parts | None:
    """Open is the earliest by (event time, offset), close the latest; of equal prices the first."""
    if not accepted:
        return None
    ordered = sorted(accepted, key=lambda tick: (tick.time_us, tick.offset))
    high = max(accepted, key=lambda tick: (tick.price, -tick.offset))
    low = min(accepted, key=lambda tick: (tick.price, tick.offset))
    found = ordered[0].price, high.price, low.price, ordered[-1].price, len(accepted)
    agrees = bar is None or found == (bar.open, bar.high, bar.low, bar.close, bar.tick_count)
    return Parts(ordered[0], high, low, ordered[-1], len(accepted), agrees)


def _disagreement(facts: Facts, accepted: Sequence[Tick], bar: Bar) -> str:
    stand = facts.stand
    if stand is not None and bar.first_offset is not None and bar.first_offset < stand.begin:
        return (
            f"its first ticks are not in the log any more: the partition begins at offset "
            f"{stand.begin}, the bar at {bar.first_offset}"
        )
    return (
        f"the {len(accepted)} ticks found do not give the bar published: a newer schedule may "
        f"explain it; `barstream verify {facts.broker} {facts.symbol}` says"
    )


def _notes(facts: Facts, places: Places) -> list[str]:
    notes = []
    if facts.elsewhere:
        others = sorted({tick.partition for tick in facts.elsewhere})
        notes.append(
            f"{counted(len(facts.elsewhere))} of this minute in partition "
            f"{', '.join(map(str, others))} instead of {facts.home}, and so in no bar: all ticks "
            "of a series must go to one partition"
        )
    reasons: dict[str, int] = {}
    for one in places.rejected:
        reasons[one.reason] = reasons.get(one.reason, 0) + 1
    if reasons:
        each = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        notes.append(f"ticks of this minute that were rejected: {each}")
    session = facts.scheduled.session
    if session is not None and (
        session.open_us > facts.bucket_us or session.close_us < facts.bucket_us + MINUTE_US
    ):
        notes.append("a partial minute: its session opens or closes inside it")
    if session is not None and facts.end_us > facts.bucket_us + MINUTE_US:
        notes.append(
            "the last minute of its session, whose close tolerance lets ticks in until "
            f"{at(facts.end_us)}"
        )
    return notes
