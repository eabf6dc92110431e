"""Looks through PgBouncer's console: who waits, who keeps a server connection, and what is set wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import text

from dbctl.database import ConnInfo, Target
from dbctl.database.conninfo import parse_conninfo
from dbctl.database.console import Answer, Row, ask_console
from dbctl.errors import DbctlError, SettingsError
from dbctl.pool.pooler_findings import Seen, find_all, prepared_statements
from dbctl.pool.pooler_model import ClientPool, Pinned, PoolerReport
from dbctl.postgres.masking import mask_literals

CONSOLE = "pgbouncer"
_WAIT_SECONDS = 5.0
_TOPICS = ("VERSION", "POOLS", "DATABASES", "USERS", "SERVERS", "CLIENTS", "LISTS", "CONFIG")
# Where clients wait for a connection of the pooler, our question waits with them: not for long.
_IMPATIENT = {"connect_timeout": 2.0, "command_timeout": 2.0, "statement_timeout": 2.0, "lock_timeout": 0.1}
_BACKENDS = text(
    """
    SELECT pid, coalesce(datname, '') AS database, application_name AS application,
           CASE WHEN backend_type IS NULL THEN '' ELSE coalesce(state, '') END AS state,
           CAST(extract(epoch FROM clock_timestamp() - state_change) AS float8) AS state_seconds,
           CAST(extract(epoch FROM clock_timestamp() - xact_start) AS float8) AS transaction_seconds,
           coalesce(query, '') AS statement
    FROM pg_stat_activity WHERE pid = ANY (:pids) AND pid <> pg_backend_pid()
    """
)


async def read_pooler(target: Target, direct: Target, admin_url: str | None = None) -> PoolerReport:
    """Ask the console at ``admin_url``, else at the database's own address, and then the server by ``direct``.

    Raises dbctl's errors where the console can't be asked; what only parts of it hide is in ``unseen``.
    """
    answers = await ask_console(
        await _console(target, admin_url), [f"SHOW {topic}" for topic in _TOPICS], seconds=_WAIT_SECONDS
    )
    told = {topic: answers[f"SHOW {topic}"] for topic in _TOPICS}
    version = _version(told["VERSION"])
    unseen = [f"SHOW {topic}: {answer.refused}" for topic, answer in told.items() if answer.refused]
    pinned, problem = await _pinned(direct, told)
    unseen += [problem] if problem else []
    pools = tuple(_pools(told))
    config = {row["key"]: row["value"] for row in told["CONFIG"].rows}
    lists = {row["list"]: row["items"] for row in told["LISTS"].rows}
    settings = target.settings.settings.pool
    prepared = prepared_statements(_mode(target, told, config), config, pooled=settings.pooler is not None)
    most = config.get("max_client_conn")
    seen = Seen(
        pools=pools,
        pinned=pinned,
        prepared=prepared,
        clients=lists.get("used_clients"),
        max_clients=int(most) if most else None,
        databases=told["DATABASES"].rows,
        users=told["USERS"].rows,
        config=config,
        engine_is_pooled=settings.pooler is not None,
        leak_after_seconds=settings.leak_after,
    )
    return PoolerReport(
        environment=target.environment,
        version=version,
        pools=pools,
        pinned=pinned,
        prepared=prepared,
        clients=seen.clients,
        max_clients=seen.max_clients,
        findings=tuple(find_all(seen)),
        unseen=tuple(unseen),
    )


async def _console(target: Target, admin_url: str | None) -> ConnInfo:
    stated = target.settings.settings.pool.admin_url
    url = admin_url or (stated.get_secret_value() if stated else None)
    conninfo = parse_conninfo(url, environ={}) if url else await target.with_password()
    return conninfo.with_database(CONSOLE)


def _version(answer: Answer) -> str:
    version = str(next((row["version"] for row in answer.rows if "version" in row), ""))
    if "PgBouncer" not in version:
        raise SettingsError("no PgBouncer answers there", why=answer.refused or version)
    return version.removeprefix("PgBouncer").strip()


def _pools(told: Mapping[str, Answer]) -> Iterable[ClientPool]:
    sizes = {row["name"]: row.get("pool_size") for row in told["DATABASES"].rows}
    for row in told["POOLS"].rows:
        if row["database"] != CONSOLE:
            busy = (row.get(name, 0) for name in ("sv_active", "sv_active_cancel", "sv_being_canceled"))
            idle = (row.get(name, 0) for name in ("sv_idle", "sv_used", "sv_tested", "sv_login"))
            yield ClientPool(
                database=row["database"],
                user=row["user"],
                mode=row.get("pool_mode") or "",
                clients=row["cl_active"],
                waiting=row["cl_waiting"],
                longest_wait_seconds=row["maxwait"] + row.get("maxwait_us", 0) / 1_000_000,
                servers_busy=sum(busy),
                servers_idle=sum(idle),
                size=sizes.get(row["database"]),
            )


def _mode(target: Target, told: Mapping[str, Answer], config: Mapping[str, str]) -> str:
    """How our own role and database are pooled: as its pool says or, where there is none yet, as PgBouncer decides."""
    name, role = target.conninfo.database, target.conninfo.role
    rows: list[Row] = [one for one in told["POOLS"].rows if (one["database"], one["user"]) == (name, role)]
    rows += [one for one in told["USERS"].rows if one["name"] == role]
    rows += [one for one in told["DATABASES"].rows if one["name"] == name]
    return next((one["pool_mode"] for one in rows if one.get("pool_mode")), config.get("pool_mode", ""))


async def _pinned(direct: Target, told: Mapping[str, Answer]) -> tuple[tuple[Pinned, ...], str]:
    """Server connections that a client has now, with what the server knows of each; and why not, if so."""
    taken = [row for row in told["SERVERS"].rows if row.get("link") and row.get("remote_pid")]
    if not taken:
        return (), ""
    try:
        async with (
            direct.open(application_name="dbctl", **_IMPATIENT) as database,
            database.connect() as connection,
        ):
            found = (
                await connection.execute(_BACKENDS, {"pids": [row["remote_pid"] for row in taken]})
            ).mappings()
            backends = {row["pid"]: dict(row) for row in found}
    except DbctlError as error:
        return (), f"who keeps a server connection: {error}; database.direct_url leads to the server itself"
    names = {row["name"]: row["database"] for row in told["DATABASES"].rows}
    clients = {row["ptr"]: row for row in told["CLIENTS"].rows}
    pairs = ((row, backends.get(row["remote_pid"])) for row in taken)
    pinned = [
        _pin(row, backend, clients.get(row["link"], {}))
        for row, backend in pairs
        # Another server of the pooler's may have a process of the same number.
        if backend and backend["database"] == names.get(row["database"], row["database"])
    ]
    hidden = sum(not one.state for one in pinned)
    why = f"the state of {hidden} server connections: GRANT pg_monitor TO our role" if hidden else ""
    return tuple(sorted(pinned, key=lambda one: -(one.transaction_seconds or 0))), why


def _pin(row: Row, backend: dict[str, Any], client: Row) -> Pinned:
    return Pinned(
        pid=row["remote_pid"],
        database=row["database"],
        user=row["user"],
        application=client.get("application_name") or backend["application"],
        client=f"{client['addr']}:{client['port']}" if client else "",
        state=backend["state"],
        state_seconds=backend["state_seconds"],
        transaction_seconds=backend["transaction_seconds"],
        statement=mask_literals(backend["statement"]) if backend["state"] else "",
    )
