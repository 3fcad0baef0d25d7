"""A worker whose Faust misses the end of its own recovery, as has been seen; run as a module."""

from __future__ import annotations

import asyncio

from faust.tables.recovery import Recovery

from barstream.cli import main


async def _never(_recovery: Recovery, _generation_id: int = 0) -> None:
    await asyncio.Event().wait()


if __name__ == "__main__":
    Recovery.on_recovery_completed = _never  # type: ignore[method-assign]
    raise SystemExit(main(["worker"]))
