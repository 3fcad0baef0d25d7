"""A schema registry of the test's own, on a port of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import web


class Registry:
    """The endpoints of a Confluent-compatible registry that clients of ticks use."""

    def __init__(self) -> None:
        self.schemas: dict[int, dict[str, Any]] = {}
        self.subjects: dict[str, list[int]] = {}
        self.asked: list[str] = []
        self.failures = 0
        self.users: set[str | None] = set()

    def add(self, schema: Any, subject: str = "ticks-value", **more: Any) -> int:
        return self.add_text(orjson.dumps(schema).decode(), subject, **more)

    def add_text(self, text: str, subject: str = "ticks-value", **more: Any) -> int:
        number = len(self.schemas) + 1
        self.schemas[number] = {"schema": text, **more}
        self.subjects.setdefault(subject, []).append(number)
        return number

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        self.users.add(request.headers.get("Authorization"))
        if self.failures:
            self.failures -= 1
            return web.Response(status=503, text="starting")
        found = await self._found(request)
        if found is None:
            return web.json_response({"error_code": 40403, "message": "none"}, status=404)
        return web.json_response(found)

    async def _found(self, request: web.Request) -> dict[str, Any] | None:
        if "number" in request.match_info:
            return self.schemas.get(int(request.match_info["number"]))
        subject = request.match_info["subject"]
        if request.method == "POST":
            return {"id": self.add(orjson.loads((await request.json())["schema"]), subject)}
        numbers = self.subjects.get(subject)
        if numbers is None:
            return None
        version = request.match_info["version"]
        number = numbers[-1] if version == "latest" else numbers[int(version) - 1]
        return {"id": number, "version": len(numbers), **self.schemas[number]}


@asynccontextmanager
async def serving(served: Registry) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/api/schemas/ids/{number}", served.answer)
    app.router.add_get("/api/subjects/{subject}/versions/{version}", served.answer)
    app.router.add_post("/api/subjects/{subject}/versions", served.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/api"
    finally:
        await runner.cleanup()
