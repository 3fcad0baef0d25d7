"""The worker that docs/timebucket.md shows, with a view that reads as code inside it does.

``POST /inside`` answers the bars of any read.  Run as a module, with the settings in the
environment.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from aiohttp import web
from msgspec import structs

from barstream import Period, Rate, TimeBucket

PAGE = Path(__file__).parents[2] / "docs" / "timebucket.md"


def examples() -> list[str]:
    """The programs of the page."""
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


async def inside(request: web.Request) -> web.Response:
    """The bars of ``to_list`` or ``wait_for`` with the arguments of the body."""
    asked: dict[str, Any] = await request.json()
    bucket = TimeBucket.get(Rate, Period.parse(asked["period"]))
    found = await getattr(bucket, asked["read"])(*asked["arguments"], **asked["options"])
    bars = found if isinstance(found, list) else [found]
    return web.json_response([structs.asdict(bar) for bar in bars])


def main() -> int:
    """Run the worker; its exit code."""
    (shown,) = (program for program in examples() if "worker.run()" in program)
    declared, run = shown.split("raise SystemExit(")
    assert run.strip() == "worker.run())"
    names: dict[str, Any] = {"__name__": "mine"}
    exec(compile(declared, PAGE, "exec"), names)
    names["worker"].app.web.web_app.router.add_post("/inside", inside)
    return int(names["worker"].run())


if __name__ == "__main__":
    sys.exit(main())
