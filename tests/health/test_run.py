"""Health: each fault is found with its name and its next step, and a healthy database gives no alarm."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from dbctl.database import ConnInfo
from dbctl.errors import UsageError
from dbctl.health.look import Outside
from dbctl.health.model import MigrationFacts, Status
from dbctl.health.run import check_health
from dbctl.migrate.graph import Graph
from dbctl.migrate.model import Revision
from dbctl.postgres.scratch import scratch_server
from tests.fixtures.database import execute
from tests.fixtures.health import RISKY, health, target

NAMES = (
    "0001_users",
    "0002_trigrams",
    "0003_users_search",
    "0004_users_imports",
    "0005_users_seedings",
    "0006_later",
)


def code_at(count: int) -> Outside:
    """The facts of a project that has the first ``count`` revisions."""
    chain = zip(NAMES[:count], [(), *((name,) for name in NAMES)], strict=False)
    graph = Graph(Revision(name, down, (), (), "", Path(name)) for name, down in chain)
    return Outside(migrations=lambda: MigrationFacts(graph))


HEAD = code_at(5)


async def test_a_healthy_database_gives_no_alarm(conninfo):
    # A container is reached by TCP without TLS, which is worth a warning.
    quiet = {} if conninfo.is_socket else {"health": {"skip": (*RISKY, "tls")}}
    report = await check_health(target(conninfo, **quiet), HEAD)
    assert report.status.severity <= Status.NOT_ENOUGH_DATA.severity
    assert report.reached
    assert {"reachable", "version", "role", "migrations", "connections", "pool"} < {
        one.check for one in report.checks
    }
    assert all(one.fix == "" for one in report.checks if one.status is Status.OK)


async def test_the_worst_comes_first_and_names_the_next_step(conninfo):
    report = await check_health(target(conninfo, health={"skip": (*RISKY, "tls")}), code_at(6))
    assert report.checks[0].check == "migrations"
    assert report.status is Status.WARNING
    assert report.checks[0].fix == "dbctl migrate up"


async def test_a_database_ahead_of_the_code_is_said(conninfo):
    found = (await health(conninfo, outside=code_at(1)))["migrations"]
    assert found.status is Status.WARNING
    assert "0005_users_seedings" in found.message


async def test_another_projects_version_table_is_not_taken_for_ours(conninfo):
    execute(
        conninfo,
        "CREATE TABLE other_versions (version_num text)",
        "INSERT INTO other_versions VALUES ('zzz')",
    )
    assert (await health(conninfo, outside=HEAD))["migrations"].status is Status.OK


async def test_a_copy_of_the_version_table_does_not_hide_an_unknown_revision(conninfo):
    copy = "CREATE TABLE alembic_version_bak AS SELECT * FROM alembic_version"
    execute(conninfo, copy, "UPDATE alembic_version SET version_num = 'zzz'")
    found = (await health(conninfo, outside=HEAD))["migrations"]
    assert found.status is Status.WARNING
    assert "zzz" in found.message


async def test_an_unmigrated_database_is_at_base(empty_conninfo):
    assert (await health(empty_conninfo, outside=HEAD))["migrations"].value == "base"


async def test_a_version_table_that_may_not_be_read_is_unknown_not_ok(conninfo):
    role = f"reader_{os.getpid()}"
    execute(conninfo, f"CREATE ROLE {role} LOGIN PASSWORD 'letters'")
    try:
        reader = ConnInfo({**conninfo.keywords, "user": role}, "letters")
        found = (await health(reader, outside=HEAD))["migrations"]
    finally:
        execute(conninfo, f"DROP ROLE {role}")
    assert found.status is Status.UNKNOWN
    assert "GRANT SELECT" in found.fix


async def test_no_alembic_project_is_skipped_not_ok(conninfo):
    found = (await health(conninfo))["migrations"]
    assert found.status is Status.SKIPPED


async def test_slow_answers_are_a_warning(conninfo):
    found = (await health(conninfo, health={"latency_warning": 0}))["reachable"]
    assert found.status is Status.WARNING
    assert isinstance(found.value, float)


async def test_full_connections_are_critical_and_counted_without_reserved_slots():
    with scratch_server(options={"max_connections": "10", "superuser_reserved_connections": "3"}) as server:
        conninfo = ConnInfo(server.params)
        with closing(psycopg2.connect(**server.params)):
            few = (await health(conninfo, pool={"size": 1, "max_overflow": 0}))["connections"]
        held = [psycopg2.connect(**server.params) for _ in range(6)]
        try:
            full = (await health(conninfo, pool={"size": 1, "max_overflow": 0}))["connections"]
        finally:
            for connection in held:
                connection.close()
    assert few.status is Status.OK
    assert full.status is Status.CRITICAL
    assert "7 of 7 usable" in full.message


async def test_a_pool_larger_than_the_server_is_critical(conninfo):
    found = (await health(conninfo, pool={"size": 900}))["pool"]
    assert found.status is Status.CRITICAL
    assert "pool.size" in found.fix


async def test_a_read_only_primary_is_critical(conninfo):
    execute(conninfo, f'ALTER DATABASE "{conninfo.database}" SET default_transaction_read_only = on')
    found = (await health(conninfo))["role"]
    assert found.status is Status.CRITICAL
    assert "default_transaction_read_only" in found.fix


async def test_an_unencrypted_tcp_connection_is_a_warning():
    with scratch_server(options={"listen_addresses": "127.0.0.1"}) as server:
        found = (await health(ConnInfo({**server.params, "host": "127.0.0.1"})))["tls"]
    assert found.status is Status.WARNING


async def test_a_dead_database_gives_a_report_that_says_so():
    dead = ConnInfo({"host": "127.0.0.1", "port": "1", "user": "ada", "dbname": "app"})
    report = await check_health(target(dead), HEAD)
    assert not report.reached
    assert report.status is Status.CRITICAL
    assert report.checks[0].fix


async def test_checks_can_be_chosen_and_skipped(conninfo):
    assert set(await health(conninfo, "tls", "role")) == {"tls", "role"}
    assert "tls" not in await health(conninfo, health={"skip": ("tls",)})
    with pytest.raises(UsageError, match="no check 'tsl'"):
        await health(conninfo, "tsl")
