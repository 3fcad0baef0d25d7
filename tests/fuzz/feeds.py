"""What is sent through a real worker: good ticks of known series, and mutants between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, NamedTuple, Protocol
from zlib import crc32

from barstream.codecs.avro.body import encode
from barstream.codecs.topics.session import encode_session, session_key
from barstream.config.sections import TickSettings
from barstream.market.session import SessionRow
from barstream.model.key import series_key
from barstream.model.time import DAY_US, MINUTE_US
from tests.functional.tick_records import now_us
from tests.fuzz.avro_mutants import Value, mutant
from tests.fuzz.mutate import damaged
from tests.fuzz.reference import RefTick, judge_avro, judge_json
from tests.fuzz.tick_schemas import SCHEMAS, SKEW_US
from tests.fuzz.ticks_surface import json_mutant

#: A morning long over: nothing good is early, and no planner closes it.
START_US: Final = 1_700_462_400_000_000
BROKER: Final = "G"
GOOD: Final = tuple(f"G{number}" for number in range(6))
PARTITIONS: Final = 2
#: Good ticks come out of order by less than the grace, so none of them is late.
_BACK_US: Final = 4_000_000
_STEP_US: Final = 20_000
_FAR_US: Final = 2 * DAY_US


class Sent(NamedTuple):
    """One record, and where it goes."""

    partition: int
    key: bytes | None
    value: bytes | None
    mutated: bool


class Format(Protocol):
    """Ticks of one kind."""

    name: str
    scheduled: bool

    @property
    def options(self) -> dict[str, str]:
        """Settings of the worker."""
        ...

    def good(self, symbol: str, time_us: int, price: float, size: float) -> bytes:
        """A tick."""
        ...

    def mutant(self, chance: Random, clock_us: int) -> bytes | None:
        """What may be none."""
        ...

    def judge(self, value: bytes | None, stamp_us: int) -> RefTick | str:
        """What it is."""
        ...


class AvroFormat:
    """The packaged schema, always open: every name makes a series."""

    name = "avro"
    scheduled = False
    options: Mapping[str, str] = {"BARS__SCHEDULE": "false"}

    def good(self, symbol: str, time_us: int, price: float, size: float) -> bytes:
        row = {"broker": BROKER, "symbol": symbol, "time": time_us, "price": price, "size": size}
        return encode("tick", row)

    def mutant(self, chance: Random, clock_us: int) -> bytes | None:
        values: dict[str, Value] = {
            "broker": lambda c: c.choice((b"G", b"G", b"g ", b"M")),
            "symbol": lambda c: c.choice((*(name.encode() for name in GOOD), b"M1", b"m2", b"")),
            "time": lambda c: clock_us - c.randrange(10**9 if c.random() < 0.5 else 4_000_000),
            "price": lambda c: c.choice((1.5, 1e308, -1e308, 5e-324, -0.0, c.randrange(999) / 8)),
            "size": lambda c: c.choice((0.0, 0.1, 1e308, 5e-324, -0.0, 1e17)),
        }
        return None if chance.random() < 0.01 else mutant(chance, SCHEMAS[0].node, values)

    def judge(self, value: bytes | None, stamp_us: int) -> RefTick | str:
        schema = SCHEMAS[0]
        return judge_avro(schema.bound, schema.reader, value, 0, stamp_us, SKEW_US)


class JsonFormat:
    """JSON with a schedule: a name without rows makes none."""

    name = "json"
    scheduled = True
    options: Mapping[str, str] = {"TICKS__FORMAT": "json", "TICKS__TIME_UNIT": "us"}
    _settings: Final = TickSettings(format="json", time_unit="us")

    def good(self, symbol: str, time_us: int, price: float, size: float) -> bytes:
        row = f'"broker":"{BROKER}","symbol":"{symbol}","time":{time_us},"price":{price!r}'
        return f'{{{row},"size":{size!r}}}'.encode()

    def mutant(self, chance: Random, clock_us: int) -> bytes | None:
        symbol = chance.choice((*GOOD, "M1", " g0 "))
        back_us = chance.randrange(10**9 if chance.random() < 0.5 else 4_000_000)
        return json_mutant(chance, BROKER, symbol, clock_us - back_us)

    def judge(self, value: bytes | None, stamp_us: int) -> RefTick | str:
        return judge_json(self._settings, value, stamp_us, SKEW_US)


def sessions(symbol: str) -> list[SessionRow]:
    """A session a day around the morning."""
    today = START_US // DAY_US
    return [
        SessionRow(BROKER, symbol, day, 0, day * DAY_US, (day + 1) * DAY_US)
        for day in range(today - 2, today + 4)
    ]


def schedule_records() -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of the schedule of the good series."""
    for symbol in GOOD:
        for row in sessions(symbol):
            yield session_key(row), encode_session(row)


@dataclass
class Mixture:
    """Good ticks with mutants between them, in the order they are sent.

    Args:
        form: what ticks look like.
        chance: what decides.
        share: of mutants.
    """

    form: Any
    chance: Random
    share: float = 0.8
    clock_us: int = START_US
    good: int = 0
    mutated: int = 0
    _prices: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GOOD, 800))

    def first(self) -> list[Sent]:
        """One tick of each good series, which makes its partition its home."""
        return [self._good(symbol) for symbol in GOOD]

    def records(self, count: int) -> Iterator[Sent]:
        """The next ``count``."""
        for _ in range(count):
            if self.chance.random() < self.share:
                yield self._mutant()
            else:
                yield self._good(self.chance.choice(GOOD))

    def _good(self, symbol: str) -> Sent:
        chance = self.chance
        self.good += 1
        self.clock_us += _STEP_US
        self._prices[symbol] += chance.choice((-1, 0, 1))
        size = chance.choice((1.0, 0.1, 0.3, 2.5))
        time_us = self.clock_us - chance.randrange(_BACK_US)
        value = self.form.good(symbol, time_us, self._prices[symbol] / 8, size)
        return Sent(home(symbol), series_key(BROKER, symbol), value, False)

    def _mutant(self) -> Sent:
        while True:
            value = self.form.mutant(self.chance, self.clock_us)
            found = self.form.judge(value, now_us())
            if isinstance(found, RefTick):
                if not self._harmless(found):
                    continue
                partition = home(found.symbol)
            else:
                partition = self.chance.randrange(PARTITIONS)
            self.mutated += 1
            return Sent(partition, self._key(), value, True)

    def _harmless(self, tick: RefTick) -> bool:
        """Not a tick that by the rules makes good ones late, or fills years of minutes."""
        if (tick.broker, tick.symbol) in {(BROKER, symbol) for symbol in GOOD}:
            return tick.time_us <= self.clock_us
        return abs(tick.time_us - self.clock_us) < _FAR_US

    def _key(self) -> bytes | None:
        chance = self.chance
        key = series_key(BROKER, chance.choice(GOOD))
        match chance.randrange(7):
            case 0:
                return None
            case 1:
                return b""
            case 2:
                return key.lower()
            case 3:
                return damaged(chance, key)
            case 4 if chance.random() < 0.001:
                return b"k" * 700_000
            case _:
                return key


def home(symbol: str) -> int:
    """The partition of a series."""
    return crc32(symbol.encode()) % PARTITIONS


def last_minute_us(clock_us: int) -> int:
    """The minute the good clock stands in."""
    return clock_us // MINUTE_US * MINUTE_US


FORMATS: Final[Sequence[Any]] = (AvroFormat(), JsonFormat())
