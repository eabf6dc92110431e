"""A backfill waits for replicas."""

from __future__ import annotations

import os
import subprocess
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
from tests.fixtures.database import execute
from tests.migrate.backfilling.conftest import revision

MAJOR = 17
STREAMING = {"wal_level": "replica", "max_wal_senders": "4", "hot_standby": "on"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ConnInfo, ConnInfo]]:
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
    execute(primary, "UPDATE t SET n = 0")
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
