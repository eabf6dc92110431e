"""The verified cases: what the recorder sees is what two other ways of looking saw."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dbctl.database import ConnInfo
from dbctl.migrate.trace.model import Statement
from dbctl.postgres.lock_modes import LockMode
from dbctl.postgres.scratch import scratch_server
from tests.fixtures.database import execute, made_database
from tests.migrate.trace.recording import Recording, sql

CASES: list[dict[str, Any]] = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "rules" / "hazard_cases.jsonl").read_text().splitlines()
]
MAJORS = [int(major) for major in os.environ.get("DBCTL_TEST_MAJORS", "17").split()]


@pytest.fixture(scope="module", params=MAJORS)
def major_server(request: pytest.FixtureRequest) -> Iterator[tuple[int, ConnInfo]]:
    with scratch_server(request.param, options={"wal_level": "logical"}) as server:
        yield server.major, ConnInfo(server.params)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_case_is_seen_as_it_was_verified(case, major_server, tmp_path):
    major, server = major_server
    if major < case["pg_min"]:
        pytest.skip(f"its syntax is of PostgreSQL {case['pg_min']}")
    with made_database(server) as conninfo:
        execute(conninfo, f'ALTER DATABASE "{conninfo.database}" SET enable_seqscan = off')
        statements = traced(case, conninfo, tmp_path)
    assert [s.failure.sqlstate for s in statements if s.failure] == [case["error"]] * bool(case["error"])
    if not case["error"]:
        assert seen(statements) == expected(case)


PROBES = [case for case in CASES if "probe_setup_sql" in case]


@pytest.mark.parametrize("case", PROBES, ids=lambda case: case["id"])
def test_a_case_that_fails_on_rows_is_seen_without_them(case, major_server, tmp_path):
    _, server = major_server
    with made_database(server) as conninfo:
        probe = {**case, "setup_sql": case["probe_setup_sql"]}
        found = seen(traced(probe, conninfo, tmp_path))
    # Its check reads the table that has no row now, and did not come to that where it failed.
    assert {**found, "scanned": []} == expected(case)


def traced(case: dict[str, Any], conninfo: ConnInfo, folder: Path) -> tuple[Statement, ...]:
    lines = sql(case["migration_sql"])
    if not case["transactional"]:
        lines = f"with op.get_context().autocommit_block():\n    {lines}"
    [statements] = Recording(conninfo, folder)(lines, setup=case["setup_sql"], catch=True)
    return statements


def seen(statements: tuple[Statement, ...]) -> dict[str, Any]:
    locks: dict[str, LockMode] = {}
    index_locks: dict[str, LockMode] = {}
    for lock in (lock for s in statements for lock in s.locks):
        # Between its two waits, DETACH … CONCURRENTLY looks at the other partitions too.
        passing = runs_alone(statements) and lock.mode is LockMode.ACCESS_SHARE
        if lock.relation.kind != "sequence" and not passing:
            into = index_locks if lock.relation.is_index else locks
            into[lock.relation.shown] = max(lock.mode, into.get(lock.relation.shown, lock.mode))
    return {
        "locks": {name: mode.value for name, mode in locks.items()},
        # The cases leave out what reading and writing take on indexes.
        "index_locks": {name: m.value for name, m in index_locks.items() if m.blocks_ddl},
        "rewritten": sorted({r.shown for s in statements for r in s.rewritten}),
        "indexes_rebuilt": sorted({r.shown for s in statements for r in s.rebuilt}),
        "scanned": sorted({scan.relation.shown for s in statements for scan in s.scanned}),
    }


def runs_alone(statements: tuple[Statement, ...]) -> bool:
    return any(statement.mode == "autocommit" for statement in statements)


def expected(case: dict[str, Any]) -> dict[str, Any]:
    names = ("locks", "index_locks", "rewritten", "indexes_rebuilt", "scanned")
    # What nobody could observe then, nobody is asked for now.
    return {name: [] if case[name] is None else case[name] for name in names}
