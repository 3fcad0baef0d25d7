"""Decoders of the tick topic: what a record is hangs on the rules that held where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from barstream.codecs.record_chunk import RecordChunk
from barstream.codecs.ticks.decoder import TickColumns, TickDecoder
from barstream.codecs.topics.rules import RulesRow
from barstream.config.sections import TickSettings
from barstream.log.rules import Regimes
from barstream.log.snapshot import parts


class Decoders:
    """Decodes each record as the worker did that judged it.

    How its fields are found is said by the settings of now; how late it may lie after its
    timestamp, and how names are spelled, by the rules of its offset.

    Args:
        settings: section ``ticks``.
        regimes: the rules, and from where on they held.

    Raises:
        SchemaError: the local schema or the mapping cannot be used.
    """

    def __init__(self, settings: TickSettings, regimes: Regimes[Any]) -> None:
        self._regimes = regimes
        self._made: dict[tuple[int, bool], TickDecoder] = {}
        for regime in regimes.all:
            skew_us, fold_case = key = _asked(regime.rules)
            if key not in self._made:
                spelled = settings.model_copy(update={"fold_case": fold_case})
                self._made[key] = TickDecoder(spelled, max_future_skew_us=skew_us)

    @property
    def most_skew_us(self) -> int:
        """How far an event time may lie after its record's timestamp at most."""
        return max(skew_us for skew_us, _ in self._made)

    def parts(self, chunk: RecordChunk) -> Iterator[RecordChunk]:
        """``chunk`` cut where another decoder takes over."""
        return parts(chunk, self._regimes.begin.tolist() if len(self._made) > 1 else ())

    async def fetch(self, part: RecordChunk) -> None:
        """Get to know the schemas that a part needs; to be awaited before it is decoded.

        Raises:
            RegistryError: the registry does not answer.
        """
        decoder = self._of(part)
        if missing := decoder.missing_schema_ids(part.values):
            await decoder.fetch_schemas(missing)

    def decode(self, part: RecordChunk) -> TickColumns:
        """The ticks of a part, all of it within one regime, or within those that decode alike."""
        return self._of(part).decode(part.values, part.timestamps_us, too_large=part.too_large_at)

    def _of(self, part: RecordChunk) -> TickDecoder:
        return self._made[_asked(self._regimes.at(part.start).rules)]


def _asked(rules: RulesRow) -> tuple[int, bool]:
    return rules.max_future_skew_us, rules.fold_case is not False
