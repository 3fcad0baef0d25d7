"""A worker that takes seconds to restore what it takes over, as of millions of rows; a module."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection
from typing import Any, Final
from unittest import mock

from barstream.cli import main
from barstream.runtime.assignment import Assignment

TAKES_S: Final = 8.0

_assign = Assignment.assign


async def _long(self: Assignment, partitions: Collection[int], *rest: Any) -> None:
    if partitions:
        await asyncio.sleep(TAKES_S)
    await _assign(self, partitions, *rest)


if __name__ == "__main__":
    sys.argv[1:] = ["worker"]
    with mock.patch.object(Assignment, "assign", _long):
        main()
