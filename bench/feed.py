"""A tape fed at the pace of its arrivals, as a process of its own: it waits for nobody.

    python -m bench.feed BOOTSTRAP TOPIC SHAPE RATE SECONDS SEED GRACE_US PARTITIONS

It says ``ready``, reads from its input when to begin (microseconds since the epoch), and sends each
tick when it is due, whatever became of those before.  A tick that could not be sent in time is sent
as soon as it can be and keeps its time: delays are measured from when it was due, so that a stall
counts for every tick that fell into it.  At the end it prints how late it was itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Final

import numpy as np

from bench.tape import SHAPES, Tape, make_tape
from bench.workload import START_US, Sent, batch_producer, send

_EVERY_S: Final = 0.01
#: Ticks encoded at once while it is behind; the rest follows without a pause.
_MOST: Final = 5_000


def paced_tape(
    shape: str, rate: int, seconds: float, *, seed: int, grace_us: int, partitions: int
) -> Tape:
    """What is fed; it begins at `START_US`."""
    long = SHAPES[shape].at_rate(rate, seconds)
    whole = make_tape(long, seed=seed, grace_us=grace_us, partitions=partitions)
    return whole.before(START_US + round(seconds * 1e6))


async def feed(options: dict[str, Any], topic: str, tape: Tape) -> dict[str, float]:
    """Send every tick when it is due; how late the steps of it were, in milliseconds."""
    producer = batch_producer(options, linger_ms=0)
    await producer.start()
    arrivals = [
        tape.arrival_us[tape.starts[at] : tape.starts[at + 1]] for at in range(tape.partitions)
    ]
    position = [0] * tape.partitions
    behind: list[float] = []
    sent: Sent = []
    try:
        while any(at < len(due) for at, due in zip(position, arrivals, strict=True)):
            now_us = time.time() * 1e6
            first_us = now_us
            for partition, due in enumerate(arrivals):
                begin = position[partition]
                end = min(int(np.searchsorted(due, now_us, side="right")), begin + _MOST)
                if begin < end:
                    first_us = min(first_us, float(due[begin]))
                    start = int(tape.starts[partition])
                    records = tape.records(slice(start + begin, start + end))
                    sent += await send(producer, topic, partition, *records)
                    position[partition] = end
            behind.append((now_us - first_us) / 1000)
            sent = [each for each in sent if not each.done()]
            await asyncio.sleep(max(0.0, now_us / 1e6 + _EVERY_S - time.time()))
        await asyncio.gather(*sent)
    finally:
        await producer.stop()
    return {
        "feed_behind_p99_ms": float(np.quantile(behind, 0.99)), "feed_behind_most_ms": max(behind),
    }  # fmt: skip


def main() -> None:
    """Feed, and print one JSON object."""
    bootstrap, topic, shape, rate, seconds, seed, grace_us, partitions = sys.argv[1:]
    tape = paced_tape(
        shape, int(rate), float(seconds), seed=int(seed), grace_us=int(grace_us),
        partitions=int(partitions),
    )  # fmt: skip
    print("ready", flush=True)
    begin_us = int(sys.stdin.readline())
    moved = tape.shifted(begin_us - START_US)
    print(json.dumps(asyncio.run(feed({"bootstrap_servers": bootstrap}, topic, moved))))


if __name__ == "__main__":
    main()
