"""A worker with a view of its own: ``POST /inside`` reads as code inside the process does.

Run as a module, with the settings in the environment.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from aiohttp import web

from barstream import Period, Rate, TimeBucket
from barstream.config import load_settings
from barstream.worker import Worker


async def inside(request: web.Request) -> web.Response:
    """The bars of ``to_list`` or ``wait_for`` with the arguments of the body."""
    asked: dict[str, Any] = await request.json()
    bucket = TimeBucket.get(Rate, Period.parse(asked["period"]))
    found = await getattr(bucket, asked["read"])(*asked["arguments"], **asked["options"])
    bars = found if isinstance(found, list) else [found]
    return web.json_response([asdict(bar) for bar in bars])


def main() -> int:
    """Run the worker; its exit code."""
    worker = Worker(load_settings())
    server: Any = worker.app.web
    server.web_app.router.add_post("/inside", inside)
    return worker.run()


if __name__ == "__main__":
    sys.exit(main())
