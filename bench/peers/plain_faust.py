"""The ordinary way: a Faust agent, one event per tick, one table update and one record per tick.

The same ticks, the same Avro, the same RocksDB; it does less than barstream
does (no schedule, no closing, no transaction), so the ratio flatters it.

    python -m bench.peers.plain_faust --bootstrap ... (see the catalogue)
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

import faust
import orjson
from aiokafka.admin import AIOKafkaAdminClient

from bench.peers.records import MINUTE_US, BarWriter, TickReader, folded, say, say_assigned


async def partition_count(bootstrap: str, topic: str) -> int:
    """Of a topic; a table must have as many."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([topic])
    finally:
        await admin.close()
    return len(described["partitions"])


def make(run: argparse.Namespace, reader: TickReader) -> faust.App:
    """The app."""
    partitions = asyncio.run(partition_count(run.bootstrap, run.ticks))
    app = faust.App(
        run.app_id,
        broker=f"kafka://{run.bootstrap}",
        store="rocksdb://",
        datadir=run.state,
        value_serializer="raw",
        web_enabled=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
    )
    ticks = app.topic(run.ticks, key_type=bytes, value_type=bytes)
    output = app.topic(run.bars, key_type=bytes, value_type=bytes)
    bars = app.Table(
        "bars", key_type=bytes, value_type=bytes, partitions=partitions,
        options={"driver": "rocksdict", "block_cache_size": 32 << 20},
    )  # fmt: skip
    writer = BarWriter()
    #: Newest event time by series, to tell what is late; a restart forgets it.
    newest: dict[bytes, int] = {}
    is_assigned = False

    @bars.on_recover
    async def recovered() -> None:
        nonlocal is_assigned
        if not is_assigned:
            is_assigned = True
            say_assigned()

    @app.agent(ticks)
    async def bar(stream: Any) -> None:
        async for series, value in stream.items():
            tick = reader.read(value)
            if tick is None or series is None:
                continue
            start = tick[0] - tick[0] % MINUTE_US
            now = newest[series] = max(newest.get(series, 0), tick[0])
            if start + MINUTE_US <= now - run.grace_ms * 1000:
                continue
            key = b"%b\0%d" % (series, start)
            known = bars.get(key)
            fold = folded(orjson.loads(known) if known else None, tick)
            bars[key] = orjson.dumps(fold)
            await output.send(key=series, value=writer.body(series, start, fold))

    return app


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("bootstrap", "ticks", "bars", "app-id", "state"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--grace-ms", type=int, default=5000)
    run = parser.parse_args()
    reader = TickReader()
    app = make(run, reader)
    sys.argv = sys.argv[:1]  # Faust reads them as well
    try:
        faust.Worker(app, loglevel="warning").execute_from_commandline()
    finally:
        say("ended", skipped=reader.skipped)


if __name__ == "__main__":
    main()
