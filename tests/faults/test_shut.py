"""Nobody new gets in: whose fault it is is seen from elsewhere, and mended from there."""

from __future__ import annotations

from typing import Any

import pytest

from dbctl.database import ConnInfo
from dbctl.health.model import Status
from tests.faults.test_sessions import busy, session, until, watching
from tests.fixtures.cli import url_of
from tests.fixtures.database import execute
from tests.fixtures.health import health
from tests.fixtures.pooler import pgbouncer


@pytest.mark.parametrize("queued", [False, True])
def test_who_has_locked_the_catalog_is_named_and_ended_from_another_database(dbctl, conninfo, queued):
    if queued:
        # The one to blame asks for little; behind him waits one that asks for all, and behind that everybody.
        with (
            watching(conninfo) as ask,
            session(conninfo, "SELECT * FROM pg_class", name="report") as root,
            busy(conninfo, "BEGIN; LOCK pg_class; COMMIT"),
        ):
            until(lambda: ask("SELECT 1 FROM pg_lock_status() WHERE NOT granted"))
            mended_from_elsewhere(dbctl, root.info.backend_pid)
    else:
        with session(conninfo, "LOCK pg_class", name="report") as root:
            mended_from_elsewhere(dbctl, root.info.backend_pid)


def mended_from_elsewhere(dbctl, root: int) -> None:
    result = dbctl("health", "--format", "json")
    found = result.json()["checks"][0]
    assert (result.code, found["status"], found["value"]) == (4, "CRITICAL", "busy")
    assert f"is locked by pid {root} report (" in found["message"]
    assert found["fix"] == f"dbctl locks kill {root}"
    assert dbctl(*found["fix"].split()[1:], "--yes").code == 0
    until(lambda: dbctl("health", "reachable").code == 0)


@pytest.mark.parametrize(
    ("closing", "said"),
    [
        ("ALTER DATABASE {} ALLOW_CONNECTIONS false", "not currently accepting connections"),
        ("ALTER DATABASE {} CONNECTION LIMIT 0", "too many connections for database"),
    ],
)
def test_a_database_that_takes_no_connections_is_a_report(dbctl, conninfo, closing, said):
    execute(conninfo, "CREATE ROLE visitor LOGIN", f"GRANT CONNECT ON DATABASE {quoted(conninfo)} TO visitor")
    elsewhere = conninfo.with_database("postgres")
    try:
        execute(elsewhere, closing.format(quoted(conninfo)))
        url = url_of(ConnInfo({**conninfo.keywords, "user": "visitor"}, conninfo.password))
        result = dbctl("health", "--format", "json", env={"DATABASE_URL": url})
    finally:
        execute(elsewhere, f"ALTER DATABASE {quoted(conninfo)} ALLOW_CONNECTIONS true")
        execute(conninfo, "DROP OWNED BY visitor", "DROP ROLE visitor")
    assert (result.code, result.json()["reached"]) == (4, False)
    assert said in result.json()["checks"][0]["message"]
    assert result.json()["checks"][0]["fix"]


async def test_a_pooler_without_a_session_to_give_is_told_from_a_server_that_is_away(conninfo):
    with pgbouncer(conninfo, default_pool_size=1) as pooled, session(pooled, "SELECT 1"):
        settings: dict[str, Any] = {"pool": {"pooler": "pgbouncer"}, "health": {"budget": 1}}
        found = (await health(pooled, **settings))["reachable"]
    assert found.status is Status.CRITICAL
    assert found.message.startswith("the pooler lets us in, and has no session of the server free")
    assert found.fix.startswith("`dbctl pool pgbouncer`")


def quoted(conninfo: ConnInfo) -> str:
    return f'"{conninfo.database}"'
