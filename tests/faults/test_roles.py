"""What a check says depends on who asks only by saying so: never OK on what a role may not see."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dbctl.database import ConnInfo
from dbctl.health.model import Status
from dbctl.postgres.binaries import find_servers
from dbctl.postgres.scratch import scratch_server
from tests.faults.test_sessions import SANE
from tests.fixtures.database import execute, made_database
from tests.fixtures.health import health

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


async def test_a_constraint_that_is_not_enforced_is_no_finding_where_there_are_such(here):
    if execute(here, "SHOW server_version_num")[0][0] < "180000":
        pytest.skip("NOT ENFORCED is new in 18")
    execute(here, "ALTER TABLE t ADD CONSTRAINT meant CHECK (id > 0) NOT ENFORCED")
    assert (await health(here, "constraints_not_valid"))["constraints_not_valid"].status is Status.OK
