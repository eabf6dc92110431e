"""All looks at the target: one before the trace, one after it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncSession

from dbctl.migrate.plan import facts, fingerprint, sessions, surroundings, target
from dbctl.migrate.plan.model import Replica, Session, Slot, TableFacts
from dbctl.migrate.plan.reading import Reader, reading
from dbctl.migrate.plan.target import Contents, Server
from dbctl.migrate.plan.traffic import Counters, read_counters
from dbctl.migrate.site import Site
from dbctl.postgres.alembic_version import VersionTable, read_versions


@dataclass(frozen=True, slots=True)
class Before:
    """What is read before the copy is made. ``relations`` and ``objects`` are digests of the catalog."""

    server: Server
    contents: Contents
    versions: Sequence[VersionTable]
    relations: Mapping[str, str]
    objects: str
    counters: Counters | None
    read_at: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is read once the tables of the plan are known; ``tables`` by ``schema.name``."""

    tables: Mapping[str, TableFacts]
    sessions: tuple[Session, ...]
    replicas: tuple[Replica, ...] | None
    slots: tuple[Slot, ...] | None
    free_bytes: int | None
    database_bytes: int | None


class Survey:
    """Reads the site's database; ``gaps`` tells what could not be read."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._reader = Reader(site.database)

    @property
    def gaps(self) -> Sequence[str]:
        """What is not known, and why."""
        return self._reader.gaps

    async def before(self) -> Before:
        """The server, its catalog, and the first reading of its counters."""
        server = await self.server()
        async with reading(self._site.database) as session:
            contents = await target.read_contents(session)
        async with reading(self._site.database) as session:
            versions = await read_versions(await session.connection())
        relations, objects = await self.digests()
        counters = await self._reader.read("reads and writes a second", read_counters)
        return Before(server, contents, versions, relations, objects, counters, time.monotonic())

    async def server(self) -> Server:
        """The server, and the settings of our session."""
        async with reading(self._site.database) as session:
            return await target.read_server(session)

    async def digests(self) -> tuple[dict[str, str], str]:
        """The catalog's digests: of each relation, and of all else."""
        async with reading(self._site.database) as session:
            await fingerprint.server_limits(session)
            return await fingerprint.read_relations(session), await fingerprint.read_objects(session)

    async def facts(self, names: Sequence[str]) -> Sequence[TableFacts]:
        """The relations called ``schema.name`` as far as they can be read, without their traffic."""
        major = (await self.server()).major

        async def look(session: AsyncSession) -> Sequence[TableFacts]:
            oids = await facts.read_oids(session)
            wanted = [oids[name] for name in names if name in oids]
            return list((await facts.read_facts(session, wanted, major, None, None)).values())

        return await self._reader.read("the tables' sizes", look) or ()

    async def after(self, names: Sequence[str], before: Before) -> Surroundings:
        """Facts of the relations called ``schema.name``, and of what is round them now."""
        reader = self._reader
        counters = await reader.read("reads and writes a second", read_counters) if before.counters else None
        there = await reader.read("the tables' oids", facts.read_oids) or {}
        oids = {name: there[name] for name in names if name in there}
        tables = await self._tables(oids, before, counters)
        shown = {oids[name]: one.name for name, one in tables.items()}
        conninfo = self._site.address
        return Surroundings(
            tables=tables,
            sessions=await reader.read("other sessions", lambda s: sessions.read_sessions(s, shown)) or (),
            replicas=await reader.read("replicas", surroundings.read_replicas),
            slots=await reader.read("replication slots", surroundings.read_slots),
            free_bytes=await reader.read("", lambda s: surroundings.read_free_bytes(s, conninfo)),
            database_bytes=await reader.read("the database's size", surroundings.read_database_bytes),
        )

    async def _tables(
        self, oids: Mapping[str, int], before: Before, counters: Counters | None
    ) -> dict[str, TableFacts]:
        wanted, major = list(oids.values()), before.server.major

        async def look(session: AsyncSession) -> dict[int, TableFacts]:
            return await facts.read_facts(session, wanted, major, before.counters, counters)

        found = await self._reader.read("the tables' sizes", look) or {}
        subscribed = (
            await self._reader.read("subscriptions", lambda s: facts.read_subscriptions(s, wanted)) or {}
        )
        return {
            name: replace(found[oid], subscriptions=tuple(subscribed.get(oid, ())))
            for name, oid in oids.items()
            if oid in found
        }
