"""A small client of a Confluent-compatible schema registry.

Schemas are immutable, so each is asked for once in the life of a process and never while a
batch is being decoded.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import orjson

from barstream.codecs.avro.schema import Node, SchemaError, named_types, parse_wire
from barstream.errors import BarstreamError

if TYPE_CHECKING:  # most have no registry, and it takes long to import
    import aiohttp

_ATTEMPTS: Final = 4
_FIRST_PAUSE_S: Final = 0.2
_ANSWERED_WITHIN_S: Final = 10
_CONNECTED_WITHIN_S: Final = 3
_AT_ONCE: Final = 16
_NOT_FOUND: Final = 404
_MOST_REFERENCES: Final = 32
_LACKING_REMEMBERED: Final = 100_000
_LACKING_FOR_S: Final = 60.0
_CONTENT_TYPE: Final = "application/vnd.schemaregistry.v1+json"

Reading = TypeVar("Reading")


class RegistryError(BarstreamError):
    """The schema registry did not give what is needed to read ticks or sessions.

    No tick is rejected for it and none is lost: look at the registry and at
    ``ticks.registry_url``; the worker goes on where it stopped.
    """


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema as the registry has it, and the types it refers to."""

    text: str
    kind: str
    known: dict[str, Node]
    #: Why it cannot be used, where a schema it refers to says so.
    trouble: str = ""

    def parse(self) -> Node:
        """The record it describes.

        Raises:
            SchemaError: it is no Avro record.
        """
        if self.trouble:
            raise SchemaError(self.trouble)
        if self.kind != "AVRO":
            raise SchemaError(f"an Avro schema is required, the registry has a {self.kind} schema")
        return parse_wire(_loads(self.text), self.known)


class SchemaRegistry:
    """Asks a registry; a user and password may stand in the URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._headers = {"Accept": f"{_CONTENT_TYPE}, */*;q=0.5"}
        if parts.username is not None:
            user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {b64encode(user.encode()).decode()}"
        host = parts.netloc.rpartition("@")[2]
        self._url = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))

    async def schemas(self, schema_ids: Iterable[int]) -> dict[int, RegisteredSchema | None]:
        """Schemas by id, None for an id that the registry says it does not have.

        Raises:
            RegistryError: the registry does not answer, or not as a registry does.
        """
        gate = asyncio.Semaphore(_AT_ONCE)
        ids = sorted(schema_ids)
        async with self._session() as session:

            async def one(schema_id: int) -> RegisteredSchema | None:
                async with gate:
                    found = await self._get(session, f"/schemas/ids/{schema_id}")
                    return None if found is None else await self._schema(session, found)

            asked = [asyncio.create_task(one(schema_id)) for schema_id in ids]
            try:
                return dict(zip(ids, await asyncio.gather(*asked), strict=True))
            finally:
                for task in asked:  # one failed: the others must not outlive the session
                    task.cancel()

    async def latest(self, subject: str) -> tuple[int, RegisteredSchema] | None:
        """Id and schema of the latest version of ``subject``, None when there is none.

        Raises:
            RegistryError: the registry does not answer, or not as a registry does.
        """
        async with self._session() as session:
            found = await self._get(session, f"/subjects/{quote(subject, safe='')}/versions/latest")
            if found is None:
                return None
            return int(found["id"]), await self._schema(session, found)

    async def register(self, subject: str, schema: Any) -> int:
        """Register an Avro schema (decoded JSON) under ``subject``; its id, also if it was there.

        Raises:
            RegistryError: the registry does not answer, or refuses the schema.
        """
        body = {"schema": orjson.dumps(schema).decode(), "schemaType": "AVRO"}
        async with self._session() as session:
            path = f"/subjects/{quote(subject, safe='')}/versions"
            found = await self._ask(session, "POST", path, body)
        if found is None:
            raise RegistryError(f"{self._url} must be a schema registry, found none under {path}")
        return int(found["id"])

    def _session(self) -> aiohttp.ClientSession:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=_ANSWERED_WITHIN_S, connect=_CONNECTED_WITHIN_S)
        return aiohttp.ClientSession(timeout=timeout, headers=self._headers)

    async def _schema(
        self, session: aiohttp.ClientSession, found: dict[str, Any]
    ) -> RegisteredSchema:
        text, kind = found["schema"], found.get("schemaType") or "AVRO"
        try:
            return RegisteredSchema(text, kind, await self._referred(session, found, {}))
        except SchemaError as error:
            return RegisteredSchema(text, kind, {}, str(error))

    async def _referred(
        self,
        session: aiohttp.ClientSession,
        found: dict[str, Any],
        seen: dict[str, dict[str, Node]],
    ) -> dict[str, Node]:
        """The types that a schema refers to; ``seen``: by path, of what was asked for before."""
        known: dict[str, Node] = {}
        for reference in found.get("references") or ():
            subject = quote(reference["subject"], safe="")
            path = f"/subjects/{subject}/versions/{reference['version']}"
            if path not in seen:
                if len(seen) >= _MOST_REFERENCES:
                    raise SchemaError(
                        f"a schema must refer to at most {_MOST_REFERENCES} others, found more"
                    )
                seen[path] = {}
                part = await self._get(session, path)
                if part is None:
                    raise RegistryError(
                        f"a schema refers to {path}, which {self._url} does not have"
                    )
                inner = await self._referred(session, part, seen)
                seen[path] = named_types(_loads(part["schema"]), inner)
            known |= seen[path]
        return known

    async def _get(self, session: aiohttp.ClientSession, path: str) -> dict[str, Any] | None:
        return await self._ask(session, "GET", path, None)

    async def _ask(
        self, session: aiohttp.ClientSession, method: str, path: str, body: Any
    ) -> dict[str, Any] | None:
        import aiohttp

        pause_s = _FIRST_PAUSE_S
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(pause_s)
                pause_s *= 2
            try:
                async with session.request(
                    method,
                    self._url + path,
                    data=None if body is None else orjson.dumps(body),
                    headers=None if body is None else {"Content-Type": _CONTENT_TYPE},
                ) as answer:
                    text = await answer.text()
                    if answer.status < 500 and answer.status != 429:
                        return self._understood(path, answer.status, text)
                    trouble = f"status {answer.status}: {text[:200]}"
            except (aiohttp.ClientError, TimeoutError) as error:
                trouble = repr(error)
        raise RegistryError(
            f"the schema registry at {self._url} must answer {path}, found after {_ATTEMPTS} "
            f"attempts: {trouble}; see whether it runs and whether ticks.registry_url is right"
        )

    def _understood(self, path: str, status: int, text: str) -> dict[str, Any] | None:
        try:
            found = orjson.loads(text)
        except ValueError:
            found = None
        # A web server that is no registry answers 404 as well, but not in these words.
        if status == _NOT_FOUND and isinstance(found, dict) and "error_code" in found:
            return None
        if status >= 300 or not isinstance(found, dict) or not ({"schema", "id"} & found.keys()):
            raise RegistryError(
                f"{self._url}{path} must answer as a schema registry does, found status {status}: "
                f"{text[:200]!r}; see ticks.registry_url (it ends before /schemas and /subjects) "
                "and the user it names"
            )
        return found


class KnownSchemas(Generic[Reading]):
    """What is known of schemas by their ids, each asked for before values of it are read.

    Args:
        registry: asked for schemas; None: nothing is asked and nothing known.
        made: what reads values of a schema, by its id and type; raises `SchemaError`.
        clock: seconds, only ever more.
        a_minute: of so many schemas that are not known the registry is asked in a minute, those
            of the lowest ids first; None: of all.

    Attributes:
        readers: what reads the values of each.
        unusable: ids whose values are refused, and why.
        lacking: ids the registry does not have, and when it said so.  Random bytes look like any
            id, so they are remembered; but it may lag behind a producer, so not for ever.
    """

    def __init__(
        self,
        registry: SchemaRegistry | None,
        made: Callable[[int, Node], Reading],
        clock: Callable[[], float] = time.monotonic,
        a_minute: int | None = None,
    ) -> None:
        self.readers: dict[int, Reading] = {}
        self.unusable: dict[int, str] = {}
        self.lacking: dict[int, float] = {}
        self._registry = registry
        self._made = made
        self._clock = clock
        self._a_minute = a_minute
        self._asked: deque[float] = deque()
        self._needed: set[int] = set()
        #: Ids of the values looked at last that the registry was not asked for any more.
        self.unasked: set[int] = set()

    def missing(self, schema_ids: set[int]) -> set[int]:
        """Those of ``schema_ids`` to be fetched: one that is lacking is again a minute later."""
        if self._registry is None:
            return set()
        ids = schema_ids - self.readers.keys() - self.unusable.keys()
        stale_s = self._clock() - _LACKING_FOR_S if ids else 0.0
        self._needed = ids
        wanted = {each for each in ids if self.lacking.get(each, stale_s) <= stale_s}
        if self._a_minute is None or not wanted:
            self.unasked = set()
            return wanted
        while self._asked and self._asked[0] <= stale_s:
            self._asked.popleft()
        # a registry counts up; random bytes read as an id are a large one nearly always
        asked = set(sorted(wanted)[: self._a_minute - len(self._asked)])
        self.unasked = wanted - asked
        return asked

    async def fetch(self, schema_ids: set[int]) -> None:
        """Get to know ``schema_ids``.

        Raises:
            RegistryError: the registry does not answer.
        """
        if not schema_ids or self._registry is None:
            return
        if len(self.lacking) + len(schema_ids) > _LACKING_REMEMBERED:
            # what the values at hand are of is not forgotten before they are read
            self.lacking = {each: at for each, at in self.lacking.items() if each in self._needed}
        if self._a_minute is not None:
            self._asked.extend([self._clock()] * len(schema_ids))
        for schema_id, schema in (await self._registry.schemas(schema_ids)).items():
            if schema is None:
                self.lacking[schema_id] = self._clock()
                continue
            try:
                self.readers[schema_id] = self._made(schema_id, schema.parse())
            except SchemaError as error:
                self.unusable[schema_id] = str(error)


def _loads(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return text  # the bare name of a type
