"""The ordinary way: a Faust agent, one event per tick, one table update per tick.

The same ticks, the same Avro, the same RocksDB, bars keyed as ours; it does less than barstream
does (no schedule, no closing, no transaction), so the ratio flatters it.

    python -m bench.peers.plain_faust BOOTSTRAP TICKS_TOPIC COUNT APP_ID
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from io import BytesIO
from typing import Any

import fastavro
import faust

from barstream.codecs.avro.body import load_schema
from barstream.model.key import bar_key

MINUTE_US = 60_000_000


def make(bootstrap: str, topic: str, count: int, app_id: str, datadir: str) -> faust.App:
    """An app that stops, and prints its rate, after ``count`` ticks."""
    app = faust.App(
        app_id,
        broker=f"kafka://{bootstrap}",
        store="rocksdb://",
        datadir=datadir,
        value_serializer="raw",
        web_enabled=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
    )
    ticks = app.topic(topic, key_type=bytes, value_type=bytes)
    bars = app.Table(
        "bars", key_type=bytes, value_type=bytes, partitions=4,
        options={"driver": "rocksdict", "block_cache_size": 32 << 20},
    )  # fmt: skip
    schema: Any = fastavro.parse_schema(load_schema("tick"))
    seen = {"count": 0, "began": 0.0}

    @app.agent(ticks)
    async def bar(stream: Any) -> None:
        async for value in stream:
            if not seen["count"]:
                seen["began"] = time.perf_counter()
            tick: Any = fastavro.schemaless_reader(BytesIO(value), schema, None)
            when = tick["time"]
            time_us = when if isinstance(when, int) else int(when.timestamp() * 1_000_000)
            start = time_us - time_us % MINUTE_US
            key = bar_key(tick["broker"], tick["symbol"], start)
            price = tick["price"]
            known = bars.get(key)
            if known is None:
                row = [price, price, price, price, tick["size"], 1]
            else:
                row = json.loads(known)
                row[1], row[2] = max(row[1], price), min(row[2], price)
                row[3], row[4], row[5] = price, row[4] + tick["size"], row[5] + 1
            bars[key] = json.dumps(row).encode()
            seen["count"] += 1
            if seen["count"] == count:
                took = time.perf_counter() - seen["began"]
                # Faust's worker takes sys.stdout for its log
                os.write(1, f"\n{json.dumps({'ticks': count, 'seconds': took})}\n".encode())
                os._exit(0)

    return app


def main() -> None:
    """Run until the ticks are done."""
    bootstrap, topic, count, app_id = sys.argv[1:]
    datadir = tempfile.mkdtemp(prefix="plain-faust-")
    try:
        app = make(bootstrap, topic, int(count), app_id, datadir)
        faust.Worker(app, loglevel="warning").execute_from_commandline()
    finally:
        shutil.rmtree(datadir, ignore_errors=True)


if __name__ == "__main__":
    main()
