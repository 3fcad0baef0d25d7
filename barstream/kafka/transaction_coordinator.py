"""Saying that the transaction coordinator of Kafka does not answer.

It is the broker that leads a partition of ``__transaction_state``.  Where there is none, a client
asks without end and without a word: no partition can be taken, and nothing says why.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

log = logging.getLogger(__name__)

#: A coordinator that moves to another broker is found again within seconds.
_SILENT_AFTER_S: Final = 10.0


@contextmanager
def told_when_silent(after_s: float = _SILENT_AFTER_S) -> Iterator[None]:
    """While transactional ids are taken: a line when that takes long, and one when it is over."""
    began_s = time.monotonic()
    timer = asyncio.get_running_loop().call_later(after_s, _silent, after_s)
    try:
        yield
    finally:
        timer.cancel()
    if (took_s := time.monotonic() - began_s) > after_s:
        log.info("the transaction coordinator answers again after %.0f s", took_s)


def _silent(after_s: float) -> None:
    log.warning(
        "Kafka's transaction coordinator has not answered for %.0f s, so no partition can be "
        "taken, still trying: each partition of topic __transaction_state needs a leader, and the "
        "topic at first as many brokers as transaction.state.log.replication.factor says",
        after_s,
    )
