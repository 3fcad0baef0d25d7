"""A worker whose Faust misses the end of its own recovery, as has been seen; run as a module."""

from __future__ import annotations

import asyncio
import sys
from unittest import mock

from faust.tables.recovery import Recovery

from barstream.cli import main


async def _never(_recovery: Recovery, _generation_id: int = 0) -> None:
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.argv[1:] = ["worker"]
    with mock.patch.object(Recovery, "on_recovery_completed", _never):
        main()
