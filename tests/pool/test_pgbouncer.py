"""What PgBouncer's console tells: who waits, who keeps a connection, and whether its settings fit the engine's."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import pytest

from dbctl import errors
from dbctl.database import ConnInfo, resolve_target
from dbctl.database.console import ask_console
from dbctl.pool.pgbouncer import read_pooler
from dbctl.pool.pooler_findings import prepared_statements
from dbctl.pool.pooler_model import PoolerReport
from dbctl.settings import load_settings
from tests.fixtures.cli import url_of
from tests.fixtures.database import execute, psycopg2_arguments
from tests.fixtures.pooler import pgbouncer

PATIENCE_SECONDS = 60


async def look(
    pooled: ConnInfo, server: ConnInfo | None = None, admin: str | None = None, **pool: Any
) -> PoolerReport:
    database = {"url": url_of(pooled), **({"direct_url": url_of(server)} if server else {})}
    tree = {"database": database, "pool": {"leak_after": 0.2, "pooler": "pgbouncer", **pool}}
    loaded = load_settings(overrides=tree, environ={}, needs_database=False)
    return await read_pooler(
        await resolve_target(loaded, {}), await resolve_target(loaded, {}, direct=True), admin
    )


async def look_until(about: str, pooled: ConnInfo, server: ConnInfo) -> PoolerReport:
    """Again and again, until there is such a finding."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while about not in topics(report := await look(pooled, server)) and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    return report


def topics(report: PoolerReport) -> list[str]:
    return [one.about for one in report.findings]


@contextmanager
def client(pooled: ConnInfo, name: str = "web"):
    """A client that has a server connection for as long as its transaction lasts."""
    with closing(psycopg2.connect(**psycopg2_arguments(pooled), application_name=name)) as connection:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 'a secret' AS kept")
            yield connection


async def test_a_pooler_that_fits_the_engine_is_well(conninfo):
    with pgbouncer(conninfo, ignored="") as pooled:
        execute(pooled, "SELECT 1")
        report = await look(pooled, conninfo)
    assert (report.ok, report.findings, report.unseen) == (True, (), ())
    assert (report.prepared.mode, report.prepared.safe, report.clients, report.max_clients) == (
        "transaction", True, 1, 100,
    )  # fmt: skip
    assert report.version[0].isdigit()
    [pool] = report.pools
    assert (pool.database, pool.user, pool.servers_idle, pool.size) == (
        conninfo.database,
        conninfo.role,
        1,
        20,
    )


async def test_who_keeps_a_server_connection_is_named_and_why_others_wait(conninfo):
    with pgbouncer(conninfo, default_pool_size=1) as pooled, client(pooled):
        waiting = asyncio.create_task(asyncio.to_thread(execute, pooled, "SELECT 1"))
        report = await look_until("waiting", pooled, conninfo)
        assert topics(report) == ["waiting", "pinned"]
        [pin] = report.pinned
        [(pid,)] = execute(
            conninfo,
            "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database()",
        )
        assert (pin.pid, pin.application, pin.state) == (pid, "web", "idle in transaction")
        assert "kept" in pin.statement
        assert "a secret" not in str(report)
        assert f"pg_terminate_backend({pid})" in report.findings[1].fix
        # Without a way past it our own question would wait with the others: it does not, and says so.
        blind = await look(pooled)
        assert not blind.ok
        assert "direct_url" in blind.unseen[0]
        execute(conninfo, f"SELECT pg_terminate_backend({pid})")
        await waiting
        assert topics(await look(pooled, conninfo)) == []


async def test_a_paused_database_and_a_full_house_are_findings(conninfo):
    with pgbouncer(conninfo, max_client_conn=4) as pooled, client(pooled), client(pooled), client(pooled):
        # The console's own connection makes it four.
        assert "clients" in topics(await look(pooled, conninfo))
    with pgbouncer(conninfo) as pooled:
        execute(pooled, "SELECT 1")
        execute(pooled.with_database("pgbouncer"), f"PAUSE {conninfo.database}")
        report = await look(pooled, conninfo)
        assert topics(report) == ["paused"]
        assert report.findings[0].fix.endswith(f"RESUME {conninfo.database}")


@pytest.mark.parametrize(
    ("mode", "ignored", "pooler", "expected"),
    [
        ("transaction", "", None, ["prepared_statements", "startup_parameters"]),
        ("session", "", None, ["startup_parameters"]),
        ("statement", "", "pgbouncer", ["pool_mode"]),
    ],
)
async def test_settings_that_do_not_fit_the_engines_are_found(conninfo, mode, ignored, pooler, expected):
    with pgbouncer(conninfo, mode=mode, ignored=ignored) as pooled:
        assert topics(await look(pooled, conninfo, pooler=pooler)) == expected


@pytest.mark.parametrize(
    ("mode", "tracked", "pooled", "safe"),
    [
        ("transaction", None, False, False),
        ("transaction", "0", False, False),
        ("transaction", "200", False, True),
        ("transaction", None, True, True),
        ("session", None, False, True),
        ("statement", "200", True, False),
        ("", None, True, None),
    ],
)
def test_prepared_statements_are_safe_by_mode_version_and_engine(mode, tracked, pooled, safe):
    config = {} if tracked is None else {"max_prepared_statements": tracked}
    assert prepared_statements(mode, config, pooled=pooled).safe is safe


async def test_a_console_that_is_none_is_told_from_one_that_refuses_us(conninfo):
    with pytest.raises(errors.SettingsError, match="no PgBouncer"):
        await look(conninfo)
    with pgbouncer(conninfo) as pooled:
        stranger = url_of(ConnInfo({**pooled.keywords, "user": "stranger"}))
        with pytest.raises(errors.WrongPassword) as caught:
            await look(pooled, conninfo, admin=stranger)
        assert "stats_users" in caught.value.hint
        assert (await look(conninfo, conninfo, admin_url=url_of(pooled))).version
    with pytest.raises(errors.Unreachable):
        await look(pooled, conninfo)


async def test_a_console_that_never_answers_is_left_after_its_time(tmp_path, conninfo):
    address = ConnInfo({**conninfo.keywords, "host": str(tmp_path), "port": "5432"})
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / ".s.PGSQL.5432"))
        silent.listen()
        with pytest.raises(errors.ConnectTimeout, match="does not answer"):
            await ask_console(address, ["SHOW VERSION"], seconds=0.3)
