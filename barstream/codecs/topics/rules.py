"""Rows that say by which rules a partition was judged, and from which offset on.

What was judged is not judged again: whoever asks later whether a bar is right goes by these rows,
not by the settings of the day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Literal, Self

import orjson

from barstream.codecs.avro.body import decode, encode
from barstream.codecs.topics.row_version import FIRST, ROW_VERSION, VERSION, version_of
from barstream.config import Settings
from barstream.market.schedule import Series
from barstream.model.time import SECOND_US

_PREFIX: Final = b"\0rules\0"
_NULL: Final = b"\0"
_NOT_FULL: Final = b"\0"
#: Of a key: the prefix, two offsets, and a zero between them.
_PLACE_BYTES: Final = len(_PREFIX) + 20 + 1 + 20
_POLICIES: Final = ("reject", "revise")


@dataclass(frozen=True, slots=True)
class RulesRow:
    """The rules of a partition from an offset on; fields as in ``rules.avsc``, times in us.

    Attributes:
        schedule: by partition of ``market_schedule`` the end of what was read; None: no schedule
            is used.
        sessions: records that held a session there.
        rewritten: a replay was switched over to here, and the rows of before say nothing any more.
        kept: series whose rows contradict each other, and by which ends they go instead.
        fold_case: whether names were upper-cased; None: written before rows said so.
        is_full: whether so many series had been taken (`barstream.rules.series_limit`) that
            ticks of others were rejected.
        version: of the layout of the row, and so of what the bars of its worker have; no rule.
        turn: of the rows that begin at one place, how many come before it: worker after worker may
            have come and gone there, each of which closed what its own grace had passed.
    """

    grace_us: int
    max_future_skew_us: int
    late_policy: Literal["reject", "revise"]
    inactive_after: int
    publish_off_session: bool
    decoding: str
    schedule: Mapping[int, int] | None = field(default_factory=dict)
    sessions: int = 0
    kept: Mapping[Series, Mapping[int, int]] = field(default_factory=dict)
    from_offset: int = 0
    heartbeat_offset: int = 0
    rewritten: bool = False
    fold_case: bool | None = None
    is_full: bool = False
    turn: int = 0
    version: int = field(default=VERSION, compare=False)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Those of ``settings``, with nothing read of the schedule yet."""
        bars = settings.bars
        return cls(
            bars.grace_us,
            bars.max_future_skew_us,
            bars.late_policy,
            bars.inactive_after,
            bars.publish_off_session,
            _decoding(settings),
            {} if bars.schedule else None,
            fold_case=settings.ticks.fold_case,
        )

    @property
    def key(self) -> bytes:
        """Of its row: ascending as the rows followed each other."""
        place = b"%s%020d\0%020d" % (_PREFIX, self.from_offset, self.heartbeat_offset)
        return place + b"\0%020d" % self.turn if self.turn else place

    @property
    def shown(self) -> dict[str, Any]:
        """Its settings by name, for people; the schedule is none of them."""
        return {
            "grace_s": self.grace_us / SECOND_US,
            "max_future_skew_s": self.max_future_skew_us / SECOND_US,
            "late_policy": self.late_policy,
            "inactive_after": self.inactive_after,
            "publish_off_session": self.publish_off_session,
            "schedule": self.schedule is not None,
            "fold_case": self.fold_case,
            "decoding": self.decoding,
        }

    def behind(self, before: RulesRow | None) -> Self:
        """The same as a row that follows ``before``, which may begin at the very place."""
        if before is None or before.place != self.place:
            return replace(self, turn=0)
        return replace(self, turn=before.turn + 1)

    @property
    def place(self) -> tuple[int, int]:
        """Where it begins."""
        return self.from_offset, self.heartbeat_offset

    def says_same(self, other: RulesRow) -> bool:
        """Whether the same rules hold, wherever they begin."""
        return _unplaced(self) == _unplaced(other)


def changes_of(before: RulesRow, now: RulesRow) -> list[str]:
    """The settings that are others than they were, for people; the schedule is none of them."""
    was, is_now = before.shown, now.shown
    return [
        f"{name} {was[name]} -> {is_now[name]}"
        for name in was
        if was[name] is not None and was[name] != is_now[name]
    ]


def _unplaced(row: RulesRow) -> RulesRow:
    return replace(row, from_offset=0, heartbeat_offset=0, rewritten=False, turn=0)


def is_rules_key(key: bytes) -> bool:
    """Whether a key of the series table is one of these rows."""
    return key.startswith(_PREFIX)


def encode_rules(row: RulesRow) -> bytes:
    """Value of a row."""
    return encode(
        "rules",
        {
            "row_version": ROW_VERSION,
            "from_offset": row.from_offset,
            "heartbeat_offset": row.heartbeat_offset,
            "grace": row.grace_us,
            "max_future_skew": row.max_future_skew_us,
            "late_policy": row.late_policy,
            "inactive_after": row.inactive_after,
            "publish_off_session": row.publish_off_session,
            "decoding": row.decoding,
            "schedule": None if row.schedule is None else _listed(row.schedule),
            "sessions": row.sessions,
            "kept": [
                {"broker": name[0], "symbol": name[1], "ends": _listed(row.kept[name])}
                for name in sorted(row.kept)
            ],
            "rewritten": row.rewritten,
            "fold_case": row.fold_case,
            "full": row.is_full,
        },
    )


def decode_rules(key: bytes, value: bytes) -> RulesRow:
    """Inverse of `encode_rules`.

    Raises:
        RowTooNew: a later release has written it.
        ValueError: the bytes are no such row, say what none can, or stand under another key.
    """
    version = version_of(value)
    row = _first_rules(value) if version == FIRST else decode("rules", value)
    ends = row["schedule"]
    kept = {(each["broker"], each["symbol"]): _by_partition(each["ends"]) for each in row["kept"]}
    found = RulesRow(
        row["grace"], row["max_future_skew"], row["late_policy"], row["inactive_after"],
        row["publish_off_session"], row["decoding"],
        None if ends is None else _by_partition(ends),
        row["sessions"], kept, row["from_offset"], row["heartbeat_offset"],
        row["rewritten"], row["fold_case"], row["full"], _turn_of(key), version,
    )  # fmt: skip
    lengths = found.grace_us, found.max_future_skew_us, found.inactive_after
    places = (
        found.from_offset,
        found.heartbeat_offset,
        found.sessions,
        *(found.schedule or {}).values(),
    )
    if min(*lengths, *places) < 0 or found.late_policy not in _POLICIES or key != found.key:
        raise ValueError(f"no worker writes such rules under {key!r}: {asdict(found)}")
    return found


def _first_rules(value: bytes) -> dict[str, Any]:
    """The row without a version; one of before there were the last fields ends where they begin."""
    value = ROW_VERSION + value
    for rest in (b"", _NOT_FULL):
        try:
            return decode("rules", value + rest)
        except ValueError:
            continue
    row = decode("rules", value + _NULL + _NOT_FULL)
    if row["fold_case"] is not None:
        raise ValueError("a row of rules is cut short")
    return row


def _turn_of(key: bytes) -> int:
    """What a key says of it; whether it is a key at all, is seen when it is made again."""
    turn = key[_PLACE_BYTES + 1 :]
    return int(turn) if turn.isdigit() else 0


def _listed(ends: Mapping[int, int]) -> list[dict[str, int]]:
    return [{"partition": partition, "end": ends[partition]} for partition in sorted(ends)]


def _by_partition(ends: list[dict[str, int]]) -> dict[int, int]:
    return {each["partition"]: each["end"] for each in ends}


def _decoding(settings: Settings) -> str:
    """Digest of what says what a record means; a setting that came with a release changes none."""
    # where the registry is found changes nothing of what it holds; the case is told by itself
    said = settings.ticks.model_dump(
        mode="json", exclude_defaults=True, exclude={"registry_url", "fold_case"}
    )
    if settings.ticks.schema_file is not None:
        said["schema_file"] = Path(settings.ticks.schema_file).read_text(encoding="utf-8")
    return blake2b(orjson.dumps(said, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
