"""Reads pg_stat_statements, whatever its version calls its columns, wherever it is installed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from dbctl.activity.reading import bounded
from dbctl.database.errors import sqlstate
from dbctl.errors import NotFound
from dbctl.postgres.identifiers import quote_identifier

_NOT_LOADED = "55000"
# Ours is known again by it, and left out.
OURS = "/* dbctl queries */"
# The library's own version counts, not the server's: an upgraded server keeps the old one until ALTER EXTENSION.
_EXTENSION = text(
    """
    SELECT n.nspname AS schema, p.proargnames AS columns,
           EXISTS (SELECT FROM pg_catalog.pg_proc AS i
                    WHERE i.proname = 'pg_stat_statements_info' AND i.pronamespace = n.oid) AS has_info
      FROM pg_catalog.pg_extension AS e
      JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
      JOIN pg_catalog.pg_proc AS p ON p.pronamespace = n.oid AND p.proname = 'pg_stat_statements'
     WHERE e.extname = 'pg_stat_statements'
    """
)
_AVAILABLE = text(
    "SELECT (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'shared_preload_libraries') AS libraries,"
    " EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'pg_stat_statements') AS available"
)
# Each as it has been called, the present name first: 13 split planning off, 17 told shared from local blocks.
_TOTAL = ("total_exec_time", "total_time")
_READ_TIME = ("shared_blk_read_time", "blk_read_time")
_WRITE_TIME = ("shared_blk_write_time", "blk_write_time")


class Key(NamedTuple):
    """What pg_stat_statements counts apart, within one database; ``queryid`` None: of a role that is not ours to see."""

    role: int
    toplevel: bool
    queryid: int | None


class Counters(NamedTuple):
    """What it counts. Milliseconds, blocks."""

    calls: int
    total_ms: float
    rows: int
    read_blocks: int
    temp_blocks: int
    io_ms: float

    def since(self, earlier: Counters | None) -> Counters:
        """The difference; all of it where the statement was forgotten in between, and counted anew."""
        if earlier is None or earlier.calls > self.calls:
            return self
        return Counters._make(now - then for now, then in zip(self, earlier, strict=True))


NOTHING = Counters(0, 0.0, 0, 0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class Extension:
    """Where pg_stat_statements is, and what it is asked with."""

    schema: str
    columns: frozenset[str]
    has_info: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """All counters of the database at one moment. ``hidden`` are statements of roles that we may not look at."""

    counters: Mapping[Key, Counters]
    hidden: Counters
    hidden_statements: int
    at: datetime
    since: datetime | None
    forgotten: int
    block_bytes: int
    measures_io: bool


async def find_extension(connection: AsyncConnection) -> Extension:
    """Raises NotFound, which says how to have it."""
    async with bounded(connection):
        row = (await connection.execute(_EXTENSION)).first()
        if row is not None:
            return Extension(quote_identifier(row.schema), frozenset(row.columns), row.has_info)
        there = (await connection.execute(_AVAILABLE)).one()
    if not there.available:
        raise NotFound(
            "there is no pg_stat_statements",
            why="the server lacks its files",
            hint="install PostgreSQL's contrib package (postgresql-contrib) there, then run this again",
        )
    loaded = there.libraries is not None and "pg_stat_statements" in there.libraries
    raise NotFound(
        "there is no pg_stat_statements in this database",
        why="its extension was never created",
        hint="CREATE EXTENSION pg_stat_statements;" + ("" if loaded else f" {_how_to_load(there.libraries)}"),
    )


def _how_to_load(libraries: str | None) -> str:
    value = ",".join(one for one in (libraries, "pg_stat_statements") if one)
    return (
        f"if it is not loaded yet: ALTER SYSTEM SET shared_preload_libraries = {value}, and restart;"
        " managed services have that in their parameter group or flags, most of them already set"
    )


async def read_counters(connection: AsyncConnection, extension: Extension) -> Reading:
    """All counters of the present database, without the statements' texts. Raises NotFound where it is not loaded."""
    try:
        async with bounded(connection):
            found = await connection.exec_driver_sql(_counters_sql(extension))
            rows = [(Key._make(row[:3]), Counters._make(row[3:])) for row in map(tuple, found)]
            about = (await connection.exec_driver_sql(_about_sql(extension))).one()
    except DBAPIError as error:
        if sqlstate(error) != _NOT_LOADED:
            raise
        raise NotFound(
            "pg_stat_statements counts nothing", why="its library is not loaded", hint=_how_to_load(None)
        ) from error
    hidden = [counters for key, counters in rows if key.queryid is None]
    return Reading(
        counters={key: counters for key, counters in rows if key.queryid is not None},
        hidden=Counters._make(map(sum, zip(*hidden, strict=True))) if hidden else NOTHING,
        hidden_statements=len(hidden),
        at=about.at,
        since=about.since,
        forgotten=about.forgotten,
        block_bytes=about.block_bytes,
        measures_io=about.measures_io,
    )


def _counters_sql(extension: Extension) -> str:
    toplevel = "toplevel" if "toplevel" in extension.columns else "true"
    io = " + ".join(_called(names, extension) for names in (_READ_TIME, _WRITE_TIME))
    return f"""
        SELECT {OURS} userid, {toplevel}, queryid, calls, {_called(_TOTAL, extension)}, rows, shared_blks_read,
               temp_blks_read + temp_blks_written, {io}
          FROM {extension.schema}.pg_stat_statements(false)
         WHERE dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
    """  # noqa: S608 - names of ours, and a schema that is quoted


def _about_sql(extension: Extension) -> str:
    since, forgotten, source = "CAST(NULL AS timestamptz)", "0", "(SELECT) AS nothing"
    if extension.has_info:
        since, forgotten, source = "stats_reset", "dealloc", f"{extension.schema}.pg_stat_statements_info()"
    return f"""
        SELECT {OURS} clock_timestamp() AS at, {since} AS since, {forgotten} AS forgotten,
               CAST(current_setting('block_size') AS int) AS block_bytes,
               CAST(current_setting('track_io_timing') AS bool) AS measures_io
          FROM {source}
    """  # noqa: S608 - names of ours, and a schema that is quoted


def _called(names: Collection[str], extension: Extension) -> str:
    return next((name for name in names if name in extension.columns), "0.0")


async def read_texts(
    connection: AsyncConnection, extension: Extension, keys: Collection[Key]
) -> Mapping[tuple[int, int | None], tuple[str, str]]:
    """Text and role's name by role and queryid: the texts are in a file, read for the few that are shown."""
    sql = f"""
        SELECT {OURS} userid, queryid, query, CAST(pg_get_userbyid(userid) AS text) AS role
          FROM {extension.schema}.pg_stat_statements(true) WHERE queryid = ANY(CAST($1 AS bigint[]))
    """  # noqa: S608 - a schema that is quoted
    async with bounded(connection):
        rows = (await connection.exec_driver_sql(sql, ([key.queryid for key in keys],))).all()
    return {(row.userid, row.queryid): (row.query or "", row.role) for row in rows}
