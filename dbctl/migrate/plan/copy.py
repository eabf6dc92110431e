"""Makes a copy of the target's schema, drift included, in a scratch database: structure, no rows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import column, insert, table, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from dbctl.database import ConnInfo, Database
from dbctl.errors import Busy, DbctlError, Failed, SettingsError, ToolFailed
from dbctl.migrate.plan.target import Contents, Server
from dbctl.postgres.alembic_version import VersionTable
from dbctl.postgres.binaries import find_client
from dbctl.postgres.client import run_tool
from dbctl.postgres.identifiers import quote_identifier

_LOCK_WAIT_SECONDS = 5
_TOAST_COMPRESSION_SINCE, _ACCESS_METHODS_SINCE = 14, 15
_AVAILABLE = "SELECT name FROM pg_available_extensions"
_THERE = "SELECT rolname FROM pg_roles"
_MAPPINGS = "SELECT usename, srvname FROM pg_user_mappings"
_SET = "SELECT set_config(:name, :value, true)"
# pg_restore 17 sets it on every server; one before 17 does not know it.
_HARMLESS = "transaction_timeout"


@dataclass(frozen=True, slots=True)
class Copied:
    """What did not come along: tables out of reach (shown names), and what was said meanwhile."""

    left_out: tuple[str, ...]
    notes: tuple[str, ...]


async def copy_schema(
    source: ConnInfo,
    server: Server,
    contents: Contents,
    versions: Iterable[VersionTable],
    *,
    into: Database,
    is_ours: bool,
) -> Copied:
    """Dump the schema of ``source`` and restore it ``into`` an empty scratch database.

    Roles are made there, without login, so that policies and GRANT find them: all of them where the scratch
    server ``is_ours``, else only those that policies name. Rows come along for the version tables only. Raises Busy (a table is locked), ToolMissing,
    ToolFailed, SettingsError for an extension that the scratch server lacks.
    """
    notes = await _check_extensions(into, contents)
    if not contents.has_public:
        async with into.connect() as connection:
            await connection.exec_driver_sql("DROP SCHEMA IF EXISTS public")
    archive = await _dump(source, server.major, contents.unreadable)
    await _make_roles(into, contents.roles if is_ours else contents.policy_roles, is_ours=is_ours)
    problems = await _restore(archive, into.conninfo, server.major)
    left_out = tuple(f"{schema}.{name}" for schema, name in contents.unreadable)
    absent = [name for name, used in contents.extensions.items() if not used]
    problems = [one for one in problems if not _is_expected(one, absent)]
    if problems and not left_out:
        raise ToolFailed(
            "the target's schema can't be copied to the scratch server",
            why=problems[0],
            hint="give a server that has what it needs: --scratch-url",
        )
    await _forget_remote_servers(into)
    await _set_defaults(into, server, is_ours=is_ours)
    await _copy_versions(into, versions)
    return Copied(left_out, (*notes, *(f"not in the copy: {one}" for one in problems)))


async def _check_extensions(into: Database, contents: Contents) -> list[str]:
    async with into.session() as session:
        available = set(await session.scalars(text(_AVAILABLE)))
    missing = {name: used for name, used in contents.extensions.items() if name not in available}
    if needed := [name for name, used in missing.items() if used]:
        raise SettingsError(
            f"the scratch server lacks the extension {', '.join(needed)}",
            why="the target's schema is built on it",
            hint="name a server that has it and may be written: --scratch-url postgresql://…",
        )
    return [
        f"extension {name} is not on the scratch server; nothing depends on it, so it was left out"
        for name in missing
    ]


async def _dump(source: ConnInfo, major: int, unreadable: Iterable[tuple[str, str]]) -> bytes:
    pg_dump = await asyncio.to_thread(find_client, "pg_dump", major)
    archive = bytearray()
    try:
        await run_tool(
            pg_dump,
            "--format=custom",
            "--compress=0",
            "--schema-only",
            "--no-password",
            "--no-owner",
            "--no-privileges",
            "--no-tablespaces",
            "--no-security-labels",
            "--no-subscriptions",
            *(("--no-toast-compression",) if major >= _TOAST_COMPRESSION_SINCE else ()),
            *(("--no-table-access-method",) if major >= _ACCESS_METHODS_SINCE else ()),
            f"--lock-wait-timeout={_LOCK_WAIT_SECONDS * 1000}",
            *(f"--exclude-table={_pattern(schema)}.{_pattern(name)}" for schema, name in unreadable),
            environment=source.libpq_environment(),
            password=source.password,
            sink=archive.extend,
        )
    except ToolFailed as error:
        raise _dump_error(error) from error
    return bytes(archive)


def _pattern(name: str) -> str:
    """A pattern of pg_dump's that means one name: within quotes nothing is special but the quote."""
    return '"' + name.replace('"', '""') + '"'


def _dump_error(error: ToolFailed) -> DbctlError:
    if "statement timeout" not in error.why:
        return error
    return Busy(
        "the schema can't be read now: a table is locked by another session",
        why=f"pg_dump waited {_LOCK_WAIT_SECONDS} s for it: {error.why}",
        hint="try again when it is done; pg_stat_activity and pg_locks show who holds it",
    )


async def _make_roles(into: Database, wanted: Iterable[str], *, is_ours: bool) -> None:
    """An env.py may take one (SET ROLE): as nothing here belongs to it, it may do everything on a server of ours."""
    power = "SUPERUSER" if is_ours else "NOSUPERUSER"
    async with into.connect() as connection:
        there = set(await connection.scalars(text(_THERE)))
        missing = [name for name in wanted if name not in there]
        if missing:
            statements = "; ".join(
                f"CREATE ROLE {quote_identifier(name)} NOLOGIN {power}" for name in missing
            )
            await _run_all(connection, statements)


async def _run_all(connection: AsyncConnection, statements: str) -> None:
    """Several statements in one round trip, none of which has parameters."""
    raw = await connection.get_raw_connection()
    driver = raw.driver_connection
    assert driver is not None  # noqa: S101 - it is open
    await driver.execute(statements)


class _Complaints:
    """Gathers pg_restore's errors: it goes on after each."""

    def __init__(self) -> None:
        self._rest = ""
        self.found: list[str] = []

    def __call__(self, piece: str) -> None:
        *lines, self._rest = (self._rest + piece).split("\n")
        for line in lines:
            if "error: " in line and _HARMLESS not in line:
                self.found.append(line.partition("error: ")[2].removeprefix("could not execute query: "))


async def _restore(archive: bytes, scratch: ConnInfo, major: int) -> list[str]:
    pg_restore = await asyncio.to_thread(find_client, "pg_restore", major)
    complaints = _Complaints()
    await run_tool(
        pg_restore,
        "--no-password",
        "--no-owner",
        "--no-acl",
        f"--dbname={_dbname(scratch.database)}",
        environment=scratch.libpq_environment(),
        password=scratch.password,
        stdin=archive,
        on_message=complaints,
        accept=frozenset({0, 1}),
    )
    return complaints.found


def _dbname(name: str) -> str:
    """As a connection string: a bare name with ``=`` in it would be read as one."""
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def _is_expected(complaint: str, absent: Iterable[str]) -> bool:
    """Whether it is about an extension that may be missing: its creation, and the comment on it."""
    return any(f'extension "{name}"' in complaint or f"/{name}.control" in complaint for name in absent)


async def _forget_remote_servers(into: Database) -> None:
    """Drop user mappings: a revision that runs on scratch must not reach other servers through foreign tables."""
    async with into.connect() as connection:
        for role, server in (await connection.execute(text(_MAPPINGS))).all():
            whom = "PUBLIC" if role == "public" else quote_identifier(role)
            await connection.exec_driver_sql(
                f"DROP USER MAPPING FOR {whom} SERVER {quote_identifier(server)}"
            )


async def _set_defaults(into: Database, server: Server, *, is_ours: bool) -> None:
    """Give sessions on scratch the settings that our session has on the target.

    On a server of ours to its role, whatever database it is in: one that is made again loses its own.
    """
    whose = "ROLE CURRENT_USER" if is_ours else f"DATABASE {quote_identifier(into.conninfo.database)}"
    for key, value in server.settings.items():
        try:
            async with into.session() as session:
                await session.execute(text(_SET), {"name": key, "value": value})
                # FROM CURRENT, because a list such as search_path must not be quoted as one value.
                statement = f"ALTER {whose} SET {quote_identifier(key)} FROM CURRENT"
                await (await session.connection()).exec_driver_sql(statement)
        except Failed as error:
            raise Failed(f"the scratch server does not take {key} = {value}", why=error.why) from error


async def _copy_versions(into: Database, versions: Iterable[VersionTable]) -> None:
    async with into.session() as session:
        for one in versions:
            if one.revisions:
                await _insert(session, one)


async def _insert(session: AsyncSession, one: VersionTable) -> None:
    target = table(one.name, column("version_num"), schema=one.schema)
    await session.execute(insert(target), [{"version_num": revision} for revision in one.revisions or ()])
