"""A backfill waits for replicas, and a run of migrations does not begin while one is behind."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dbctl.database import ConnInfo
from dbctl.errors import Busy
from dbctl.migrate import backfill
from dbctl.migrate.backfilling.model import Progress
from dbctl.postgres.binaries import find_client
from dbctl.postgres.scratch import scratch_server
from tests.fixtures.cli import url_of
from tests.fixtures.database import execute
from tests.migrate.backfilling.conftest import revision
from tests.migrate.runner.conftest import write_revisions

MAJOR = 17
STREAMING = {"wal_level": "replica", "max_wal_senders": "4", "hot_standby": "on"}


@pytest.fixture(scope="module")
def following(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ConnInfo, ConnInfo]]:
    """A primary with a table, and a replica that follows it."""
    copy: Path = tmp_path_factory.mktemp("replica") / "data"
    with scratch_server(MAJOR, options=STREAMING) as primary:
        address = ConnInfo(primary.params)
        environ = {**os.environ, **address.libpq_environment()}
        program = find_client("pg_basebackup", MAJOR)
        command = [str(program), "--checkpoint=fast", "--wal-method=stream", "-D", str(copy)]
        subprocess.run(command, env=environ, check=True, capture_output=True)
        (copy / "standby.signal").touch()
        follow = f"host={primary.params['host']} port={primary.params['port']} user={primary.params['user']} application_name=follower"
        with scratch_server(
            MAJOR, template=copy, options={**STREAMING, "primary_conninfo": follow}
        ) as replica:
            execute(
                address,
                "CREATE TABLE t AS SELECT g AS id, 0 AS n FROM generate_series(1, 3000) g",
                "ALTER TABLE t ADD PRIMARY KEY (id)",
            )
            yield address, ConnInfo(replica.params)


@pytest.fixture
def pair(following: tuple[ConnInfo, ConnInfo]) -> tuple[ConnInfo, ConnInfo]:
    """Both, with nothing done yet."""
    execute(following[0], "UPDATE t SET n = 0", "DROP TABLE IF EXISTS dbctl_backfills, late")
    return following


def test_it_pauses_while_a_replica_is_behind_and_goes_on_when_it_is_not(pair):
    primary, replica = pair
    execute(replica, "SELECT pg_wal_replay_pause()")
    seen: list[Progress] = []

    def heard(progress: Progress) -> None:
        seen.append(progress)
        if progress.waits_for:
            execute(replica, "SELECT pg_wal_replay_resume()")

    engine = sa.create_engine(primary.psycopg2_url(), poolclass=sa.NullPool)
    with engine.connect() as connection, revision(connection) as op:
        backfill(
            op, "t", set={"n": sa.column("n") + 1}, batch_rows=20, batch_seconds=0.0001, max_lag_seconds=0.2,
            progress=heard,
        )  # fmt: skip
    waits = [one.waits_for for one in seen if one.waits_for]
    assert waits
    assert waits[0].startswith("replica follower is ")
    assert execute(primary, "SELECT DISTINCT n FROM t") == [(1,)]


def test_it_gives_up_on_one_that_stays_behind_and_can_be_resumed(pair):
    primary, replica = pair
    execute(replica, "SELECT pg_wal_replay_pause()")
    engine = sa.create_engine(primary.psycopg2_url(), poolclass=sa.NullPool)
    try:
        with engine.connect() as connection, pytest.raises(Busy, match="gave up"), revision(connection) as op:
            backfill(
                op, "t", set={"n": sa.column("n") + 1}, batch_rows=20, batch_seconds=0.0001,
                max_lag_seconds=0.2, patience_seconds=0.5,
            )  # fmt: skip
    finally:
        execute(replica, "SELECT pg_wal_replay_resume()")
    assert execute(primary, "SELECT count(*) FROM dbctl_backfills") == [(1,)]


def test_up_does_not_begin_while_a_replica_is_behind_by_more_than_its_limit(pair, dbctl, tmp_path):
    primary, replica = pair
    ini = str(write_revisions(tmp_path / "p", a='op.execute("CREATE TABLE late (id int)")'))
    environ = {"DATABASE_URL": url_of(primary), "DBCTL_MIGRATE__MAX_REPLICA_LAG": "0.4"}
    execute(replica, "SELECT pg_wal_replay_pause()")
    execute(primary, "UPDATE t SET n = n + 1")
    # The server measures no lag until something else is written: this one stands still all the same.
    time.sleep(1)
    refused = dbctl("migrate", "up", "--no-plan", "--config", ini, env=environ)
    assert (refused.code, "replicas are behind" in refused.stderr) == (3, True), refused.stderr
    assert execute(primary, "SELECT to_regclass('late')") == [(None,)]
    execute(replica, "SELECT pg_wal_replay_resume()")
    behind = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn < pg_current_wal_lsn()"
    deadline = time.monotonic() + 60
    while execute(primary, behind) != [(0,)] and time.monotonic() < deadline:
        time.sleep(0.1)
    # What was last measured, more than the limit, may stand there still.
    done = dbctl("migrate", "up", "--no-plan", "--config", ini, env=environ)
    assert done.code == 0, done.stderr
