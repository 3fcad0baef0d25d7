"""One-minute bars by Quix Streams: a tumbling window with a reducer, in RocksDB.

    PYTHON_OF_ITS_ENVIRONMENT -m bench.peers.quix --emit live --bootstrap ... (see the catalogue)

Windows are closed by later ticks of the same series, which is its default.  The other way, by ticks
of the whole partition, takes a late tick into a minute that it has closed already, as a new bar of
that tick alone (3.28.1).
"""

from __future__ import annotations

import argparse
from typing import Any

from quixstreams import Application
from quixstreams.models import Deserializer
from quixstreams.models.serializers.exceptions import IgnoreMessage

from bench.peers.records import BarWriter, Fold, Tick, TickReader, folded, say, say_assigned

_MINUTE_MS = 60_000


class Ticks(Deserializer):
    """Values to ticks; what cannot be read is left out."""

    def __init__(self, reader: TickReader) -> None:
        super().__init__()
        self._read = reader.read

    def __call__(self, value: bytes, ctx: Any) -> Tick:  # noqa: ARG002  it is called so
        tick = self._read(value)
        if tick is None:
            raise IgnoreMessage
        return tick


class Program(Application):
    """An application that says when it is about to read."""

    _said = False

    # It has no hook for that; the version is pinned.
    def _on_assign(self, consumer: Any, topic_partitions: list[Any]) -> None:
        super()._on_assign(consumer, topic_partitions)
        if topic_partitions and not self._said:
            self._said = True
            say_assigned()


def first(tick: Tick) -> Fold:
    return folded(None, tick)


def event_time_ms(value: Tick | None, _headers: Any, timestamp_ms: int, _type: Any) -> int:
    # a record without a value is given to no deserializer, and dropped after this
    return timestamp_ms if value is None else value[0] // 1000


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bootstrap", "ticks", "bars", "app-id", "state"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--grace-ms", type=int, required=True)
    parser.add_argument("--emit", choices=["live", "final"], default="live")
    parser.add_argument(
        "--guarantee", choices=["exactly_once", "at_least_once"], default="exactly_once"
    )
    run = parser.parse_args()
    exactly_once = run.guarantee == "exactly_once"
    reader, writer, late = TickReader(), BarWriter(), [0]

    def on_late(*_: Any) -> bool:
        late[0] += 1
        return False  # a line of the log for each would be what is measured

    def has_value(tick: Tick | None) -> bool:
        reader.skipped += tick is None
        return tick is not None

    def body(window: Any, key: bytes, *_: Any) -> bytes:
        return writer.body(key, window["start"] * 1000, window["value"])

    app = Program(
        broker_address=run.bootstrap,
        consumer_group=run.app_id,
        auto_offset_reset="earliest",
        state_dir=run.state,
        processing_guarantee="exactly-once" if exactly_once else "at-least-once",
        # In a transaction nothing is seen before the commit; without one it only bounds what is
        # done again after a crash, and stays as it is by default.
        commit_interval=0.1 if exactly_once else 5.0,
        # Also how long a commit that is due waits for one more tick.
        consumer_poll_timeout=0.05,
        producer_extra_config={"transactional.id": run.app_id} if exactly_once else None,
        loglevel="WARNING",
    )
    ticks = app.topic(
        run.ticks,
        key_deserializer="bytes",
        value_deserializer=Ticks(reader),
        timestamp_extractor=event_time_ms,
    )
    bars = app.topic(run.bars, key_serializer="bytes", value_serializer="bytes")
    windows = (
        app.dataframe(ticks)
        .filter(has_value)
        .tumbling_window(_MINUTE_MS, grace_ms=run.grace_ms, name="minutes", on_late=on_late)
        .reduce(reducer=folded, initializer=first)
    )
    frame = windows.final() if run.emit == "final" else windows.current()
    frame.apply(body, metadata=True).to_topic(bars)
    app.run()
    say("ended", skipped=reader.skipped, late=late[0])


if __name__ == "__main__":
    main()
