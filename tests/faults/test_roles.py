"""What a check says depends on who asks only by saying so: never OK on what a role may not see."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import psycopg2
import pytest

from dbctl.database import ConnInfo
from dbctl.health.grants import monitoring_role
from dbctl.health.model import Status
from dbctl.postgres.binaries import find_servers
from dbctl.postgres.scratch import scratch_server
from tests.faults.test_sessions import SANE, session
from tests.fixtures.database import execute, made_database
from tests.fixtures.health import health

# One fault a check, each for everybody to see who may.
FAULTS = (
    "CREATE UNLOGGED TABLE cache (id int)",
    "CREATE TABLE keyless AS SELECT generate_series(1, 10) AS id",
    "CREATE TABLE customers (id bigint PRIMARY KEY, name text, age int)",
    "INSERT INTO customers SELECT g, 'same', g FROM generate_series(1, 30000) g",
    "CREATE TABLE orders (id serial PRIMARY KEY, customer int REFERENCES customers)",
    "SELECT setval('orders_id_seq', 2000000000)",
    "INSERT INTO orders SELECT g, g FROM generate_series(1, 30000) g",
    "CREATE INDEX one ON customers (name)",
    "CREATE INDEX two ON customers (name)",
    "ALTER TABLE customers ADD CONSTRAINT grown CHECK (age > 17) NOT VALID",
    "ALTER TABLE orders DISABLE TRIGGER ALL",
    "CREATE POLICY own ON orders USING (true)",
    "ALTER TABLE customers SET (autovacuum_enabled = false)",
    "CREATE FUNCTION risky() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
    "GRANT CREATE ON SCHEMA public TO PUBLIC",
    "CREATE ROLE leaving LOGIN VALID UNTIL 'yesterday'",
    "ANALYZE",
)
QUIET = {Status.OK, Status.SKIPPED, Status.NOT_ENOUGH_DATA}
SOON = {"transactions": {"idle_warning": 0.2, "long_warning": 0.2, "prepared_warning": 0.2}}
LARGE = "INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 30000) g"


@pytest.fixture(scope="module", params=[one.major for one in find_servers()])
def here(request) -> Iterator[ConnInfo]:
    """A database of each major with a sequence, a large table and three roles."""
    with (
        scratch_server(request.param, options=SANE) as server,
        made_database(ConnInfo(server.params)) as made,
    ):
        execute(
            made,
            "CREATE ROLE watcher LOGIN IN ROLE pg_monitor",
            "CREATE ROLE nobody LOGIN",
            "CREATE TABLE t (id bigserial PRIMARY KEY, x text)",
            LARGE,
            "VACUUM ANALYZE t",
        )
        yield made


def as_role(conninfo: ConnInfo, role: str) -> ConnInfo:
    return ConnInfo({**conninfo.keywords, "user": role})


@pytest.mark.parametrize("role", ["postgres", "watcher", "nobody"])
async def test_every_check_has_an_answer_on_every_version_and_no_alarm_on_a_healthy_database(here, role):
    answers = await health(as_role(here, role), profile="nightly")
    assert len(answers) > 40
    assert {one.check for one in answers.values() if "a bug of this check" in one.message} == set()
    assert {one.check for one in answers.values() if "this server lacks" in one.message} == set()
    bad = {Status.WARNING, Status.CRITICAL}
    assert {name: one.message for name, one in answers.items() if one.status in bad} == {}
    if role == "postgres":
        assert {name for name, one in answers.items() if one.status is Status.UNKNOWN} == set()
    assert all(one.fix for one in answers.values() if one.status is Status.UNKNOWN)


@pytest.mark.parametrize(
    ("check", "grant"),
    [
        ("sequences", "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO watcher"),
        ("bloated_tables", "GRANT SELECT ON t TO watcher"),
        ("md5_passwords", None),
    ],
)
async def test_the_grant_that_is_named_lets_the_check_look(here, check, grant):
    watcher = as_role(here, "watcher")
    before = (await health(watcher, check))[check]
    assert before.status is Status.UNKNOWN
    assert "GRANT " in before.fix
    execute(here, grant or before.fix)
    assert (await health(watcher, check))[check].status is Status.OK


async def test_a_fault_that_a_superuser_finds_is_ok_to_no_other_role_and_found_by_the_one_that_is_proposed(
    here,
):
    with made_database(here) as made:
        execute(made, *FAULTS)
        with suppress(psycopg2.IntegrityError):
            execute(made, "CREATE UNIQUE INDEX CONCURRENTLY twice ON customers (name)")
        execute(made, "BEGIN", "INSERT INTO customers VALUES (0)", "PREPARE TRANSACTION 'forgotten'")
        try:
            with session(made, "SELECT 1 FROM customers"):
                time.sleep(0.3)
                found = await faults_seen_by(made, "postgres")
                assert found >= {
                    *(
                        "unlogged_tables",
                        "primary_keys",
                        "sequences",
                        "superfluous_indexes",
                        "invalid_indexes",
                    ),
                    *("constraints_not_valid", "disabled_triggers", "row_security", "autovacuum_of_tables"),
                    *("security_definers", "public_create", "expiring_roles", "foreign_key_types"),
                    *("prepared_transactions", "idle_in_transaction"),
                    "foreign_keys_without_index",
                }
                for role in ("watcher", "nobody"):
                    silent = (await health(as_role(made, role), *found, health=SOON)).values()
                    assert {one.check: one.message for one in silent if one.status in QUIET} == {}
                looker = monitoring_role(f"looker_{made.database}")
                statements = (*looker.statements, *(grant for grant, _ in looker.further))
                execute(made, *(each for each in statements if not each.startswith("\\")))
                assert await faults_seen_by(made, looker.role) == found
        finally:
            execute(made, "ROLLBACK PREPARED 'forgotten'", "DROP ROLE leaving")


async def faults_seen_by(conninfo: ConnInfo, role: str) -> set[str]:
    answers = await health(as_role(conninfo, role), profile="nightly", health=SOON)
    return {one.check for one in answers.values() if one.status in {Status.WARNING, Status.CRITICAL}}


async def test_a_constraint_that_is_not_enforced_is_no_finding_where_there_are_such(here):
    if execute(here, "SHOW server_version_num")[0][0] < "180000":
        pytest.skip("NOT ENFORCED is new in 18")
    execute(here, "ALTER TABLE t ADD CONSTRAINT meant CHECK (id > 0) NOT ENFORCED")
    assert (await health(here, "constraints_not_valid"))["constraints_not_valid"].status is Status.OK
