"""Bars of every worker in one answer, in the order of their keys."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from barstream.codecs.topics.bar_json import bar_from_json
from barstream.model.bar_request import BarRequest, after_text
from barstream.model.time import iso_from_us
from barstream.serve.owner import Gathered, Router
from barstream.serve.query import read_bars, rendered
from barstream.serve.reads import Reads

Row = Mapping[str, Any]


def by_key(row: Row) -> tuple[str, str, str]:
    """What bars are ordered by; as text, because ``bucket_start`` sorts as time does."""
    return row["broker"], row["symbol"], row["bucket_start"]


def first_rows(
    gathered: Gathered, name: str, limit: int, key: Callable[[Row], Any]
) -> tuple[list[Any], bool]:
    """The first ``limit`` rows of all workers in order, and whether there are more.

    Each of them has given its first ``limit`` rows, so that the first of all are among them.
    """
    rows = sorted((row for body in gathered.bodies for row in body[name]), key=key)
    # a worker of an earlier version gives all it has, and does not say so
    more = len(rows) > limit or any(body.get("truncated", False) for body in gathered.bodies)
    return rows[:limit], more


async def bars_here(reads: Reads, asked: BarRequest, partitions: frozenset[int]) -> dict[str, Any]:
    """The bars of these partitions, in the order of their keys.

    Raises:
        NotHereError: one of them is not here, or no longer.
    """
    found = await read_bars(reads, asked, partitions)
    retained_us = found.retained_from_us
    return {
        "truncated": found.left_off is not None,
        "retained_from": None if retained_us is None else iso_from_us(retained_us),
        "bars": await rendered(found.bars),
    }


async def gathered_bars(
    router: Router, reads: Reads, asked: BarRequest, target: str
) -> tuple[dict[str, Any], Gathered]:
    """One page of what all workers have, and which of them did not answer.

    Args:
        router: asks the others.
        reads: of this worker.
        asked: what is asked.
        target: the same as path and query.
    """
    gathered = await router.gather(target, lambda here: bars_here(reads, asked, here))
    parts = gathered.bodies
    # each part has as many as the page can take, so the first of all of them are the page
    rows = heapq.merge(*(part["bars"] for part in parts), key=by_key, reverse=asked.descending)
    bars = list(islice(rows, asked.limit))
    count = sum(len(part["bars"]) for part in parts)
    retained = [part["retained_from"] for part in parts if part["retained_from"]]
    page: dict[str, Any] = {
        "truncated": count > len(bars) or any(part["truncated"] for part in parts),
        "retained_from": max(retained, default=None),
        "bars": bars,
    }
    if page["truncated"]:
        page["next_after"] = after_text(bar_from_json(bars[-1]))
    return page, gathered
