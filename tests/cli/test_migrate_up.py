"""`dbctl migrate up` as a pipeline runs it: what it asks before, what it says meanwhile, what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from tests.fixtures.cli import url_of
from tests.fixtures.database import ROOT, execute
from tests.fixtures.pooler import pgbouncer
from tests.migrate.runner.conftest import write_revisions

TABLE = "op.create_table('t', sa.Column('id', sa.Integer, primary_key=True), sa.Column('n', sa.Integer))"
DANGER = "op.execute('ALTER TABLE t ALTER n TYPE bigint')"
ROWS = "INSERT INTO t (id, n) SELECT i, i FROM generate_series(1, 40000) i"


@pytest.fixture
def empty(empty_conninfo):
    return {"DATABASE_URL": url_of(empty_conninfo), "DBCTL_MIGRATE__SMALL_TABLE": "0"}


def at(conninfo):
    return [revision for (revision,) in execute(conninfo, "SELECT version_num FROM alembic_version")]


def test_a_danger_refuses_until_it_is_accepted_and_what_was_rewritten_gets_statistics(
    dbctl, empty, empty_conninfo, tmp_path
):
    ini = str(write_revisions(tmp_path / "p", a=TABLE, b=DANGER))
    first = dbctl("migrate", "up", "a", "--config", ini, env=empty)
    assert first.code == 0, first.stderr
    assert "copying the schema" not in first.stderr
    execute(empty_conninfo, ROWS)
    refused = dbctl("migrate", "up", "--config", ini, env=empty)
    assert refused.code == 3
    assert "not safe to apply: 1 danger not accepted" in refused.stderr
    assert "--accept alter-type-rewrite" in refused.stderr
    assert at(empty_conninfo) == ["a"]
    done = dbctl(
        "migrate", "up", "--accept", "alter-type-rewrite", "--config", ini, "--format", "json", env=empty
    )
    assert done.code == 0, done.stderr
    (applied,) = done.json()["applied"]
    assert (applied["revision"], applied["retries"]) == ("b", 0)
    assert 0 < applied["locked_seconds"] <= applied["duration_seconds"]
    assert done.json()["aftermath"]["analyzed"] == ["public.t"]
    assert done.json()["plan_seconds"] > 0
    history = dbctl("migrate", "history", "--runs", "--format", "json", env=empty).json()
    assert [(one["revision"], one["direction"], one["outcome"]) for one in history] == [
        ("b", "up", "applied"),
        ("a", "up", "applied"),
    ]


def test_a_saved_plan_is_applied_as_far_as_it_goes_and_only_if_it_fits(
    dbctl, empty, empty_conninfo, tmp_path
):
    ini = str(write_revisions(tmp_path / "p", a=TABLE, b="op.execute('CREATE TABLE u (n int)')", c="pass"))
    assert dbctl("migrate", "up", "a", "--config", ini, env=empty).code == 0
    plan = str(tmp_path / "plan.json")
    assert dbctl("migrate", "plan", "b", "--out", plan, "--config", ini, env=empty).code == 0
    assert dbctl("migrate", "up", "--plan", plan, "--config", ini, env=empty).code == 0
    assert at(empty_conninfo) == ["b"]
    both = dbctl("migrate", "up", "c", "--plan", plan, "--config", ini, env=empty)
    assert both.code == 2
    assert "a REVISION and --plan can't both be given" in both.stderr
    again = dbctl("migrate", "up", "--plan", plan, "--config", ini, env=empty)
    assert again.code == 3
    assert "the plan does not fit any more" in again.stderr


def test_who_is_in_the_way_is_named_before_anything_runs(dbctl, empty, empty_conninfo, tmp_path):
    ini = str(write_revisions(tmp_path / "p", a=TABLE, b="op.execute('ALTER TABLE t ADD COLUMN m int')"))
    assert dbctl("migrate", "up", "a", "--config", ini, env=empty).code == 0
    with held(empty_conninfo):
        time.sleep(1)
        busy = dbctl("migrate", "up", "--config", ini, env={**empty, "DBCTL_MIGRATE__RETRY_BUDGET": "0"})
    assert busy.code == 5
    assert "waiting until nobody is in the way: blocked by pid" in busy.stderr
    assert "idle in transaction" in busy.stderr
    assert "holds its locks on t for" in busy.stderr


def test_what_waits_and_comes_back_is_said_once_a_change(dbctl_process, empty, empty_conninfo, tmp_path):
    ini = str(write_revisions(tmp_path / "p", a=TABLE, b="op.execute('ALTER TABLE t ADD COLUMN m int')"))
    settings = {**empty, "DBCTL_MIGRATE__LOCK_TIMEOUT": "0.8", "DBCTL_MIGRATE__PLAN": "false"}
    assert dbctl_process("migrate", "up", "a", "--config", ini, env=settings).code == 0
    with held(empty_conninfo):
        running = dbctl_process.start("migrate", "up", "--config", ini, env=settings)
        said = [running.stderr.readline() for _ in range(4)]
    _, rest = running.communicate(timeout=60)
    assert running.returncode == 0, rest
    text = "".join(said)
    assert text.count("b waits: blocked by pid") == 1
    assert "b: lock timeout, rolled back; attempt 2 in" in text
    assert "\x1b" not in text + rest


def test_a_backup_that_is_wanted_must_be_there_or_is_made(dbctl, empty, empty_conninfo, conninfo, tmp_path):
    ini = str(write_revisions(tmp_path / "p", a=TABLE))

    def up(*options):
        return dbctl("migrate", "up", *options, "--config", ini, env=empty)

    assert dbctl("backup").code == 0
    refused = up("--require-backup", "24h")
    assert refused.code == 3
    assert (
        f"no good backup of database {empty_conninfo.database} of local is younger than 24h" in refused.stderr
    )
    assert "there is none" in refused.stderr
    assert up("--require-backup", "soon").code == 2
    assert up("--backup", "--require-backup", "24h").code == 0
    assert up("--require-backup", "24h").code == 0


def test_a_hazard_that_is_misspelt_is_not_accepted(dbctl, empty, tmp_path):
    ini = str(write_revisions(tmp_path / "p", a=TABLE))
    wrong = dbctl("migrate", "up", "--accept", "set-not-nul", "--config", ini, env=empty)
    assert wrong.code == 2
    assert "did you mean set-not-null?" in wrong.stderr


def test_past_a_pooler_the_direct_url_serves_migrations(dbctl, empty, empty_conninfo, tmp_path):
    ini = str(write_revisions(tmp_path / "p", a=TABLE))
    with pgbouncer(empty_conninfo) as pooled:
        env = {"DATABASE_URL": url_of(pooled)}
        refused = dbctl("migrate", "up", "--config", ini, env=env)
        assert refused.code == 2
        assert "set database.direct_url" in refused.stderr
        env["DBCTL_DATABASE__DIRECT_URL"] = empty["DATABASE_URL"]
        done = dbctl("migrate", "up", "--config", ini, env=env)
    assert done.code == 0, done.stderr
    assert at(empty_conninfo) == ["a"]


def test_the_second_of_two_runs_is_busy_before_it_plans(dbctl_process, dbctl, empty, tmp_path):
    folder = tmp_path / "p"
    ini = str(write_revisions(folder, a=TABLE))
    assert dbctl("migrate", "up", "--config", ini, env=empty).code == 0
    write_revisions(folder, a=TABLE, b="__import__('time').sleep(2)")
    with dbctl_process.start("migrate", "up", "--config", ini, env=empty) as first:
        assert first.stderr
        while "copying the schema" not in first.stderr.readline():
            pass
        second = dbctl("migrate", "up", "--config", ini, env=empty)
        first.communicate(timeout=60)
    assert (first.returncode, second.code) == (0, 5)
    assert "copying the schema" not in second.stderr


def test_no_history_leaves_none_and_ours_is_no_drift(dbctl, empty, empty_conninfo, tmp_path):
    ini = str(write_revisions(tmp_path / "p", a="pass"))
    assert dbctl("migrate", "up", "--no-history", "--config", ini, env=empty).code == 0
    assert execute(empty_conninfo, "SELECT to_regclass('dbctl_history')") == [(None,)]
    execute(empty_conninfo, "DELETE FROM alembic_version")
    assert dbctl("migrate", "up", "--config", ini, env=empty).code == 0
    env = tmp_path / "p" / "migrations" / "env.py"
    env.write_text(
        env.read_text().replace("target_metadata=None", "target_metadata=__import__('sqlalchemy').MetaData()")
    )
    made = dbctl("migrate", "new", "nothing", "--autogenerate", "--config", ini, env=empty)
    assert made.code == 0, made.stderr
    assert not list((tmp_path / "p" / "migrations" / "versions").glob("*nothing*.py"))


# Imported once and forked: ten interpreters that start would be measured, not ten runs.
TEN = """
import json, os, sys
import alembic.command, dbctl.cli.migrate_up, dbctl.migrate.runner.gate, sqlalchemy.dialects.postgresql.asyncpg, psycopg2
from dbctl.cli.root import run

ini, folder = sys.argv[1:]
children = []
for number in range(10):
    child = os.fork()
    if not child:
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{folder}/{number}.{name}", os.O_CREAT | os.O_WRONLY), stream)
        wait = ["--wait", "60"] if number % 2 else []
        os._exit(run(["migrate", "up", "--config", ini, "--format", "json", *wait]))
    children.append(child)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))
"""


def test_ten_at_once_on_an_empty_database(project, empty, empty_conninfo, tmp_path):
    ini = str(write_revisions(tmp_path / "p", a=TABLE, b="op.execute('SELECT pg_sleep(0.2)')", c="pass"))
    ended = subprocess.run(
        [sys.executable, "-c", TEN, ini, str(tmp_path)],
        env={**os.environ, **empty, "PYTHONPATH": str(ROOT)},
        cwd=project,
        check=True,
        capture_output=True,
        text=True,
    )
    codes = json.loads(ended.stdout)
    said = [(tmp_path / f"{number}.err").read_text() for number in range(10)]
    assert set(codes) <= {0, 5}, said
    assert codes[1::2] == [0] * 5, said
    outs = [(tmp_path / f"{number}.out").read_text() for number, code in enumerate(codes) if code == 0]
    assert sorted(step["revision"] for out in outs for step in json.loads(out)["applied"]) == ["a", "b", "c"]
    assert all("locked by another run" in text for text, code in zip(said, codes, strict=True) if code == 5)


class held:  # noqa: N801 - reads as a word
    """A transaction of another process, idle, that has read table t."""

    def __init__(self, conninfo):
        self.conninfo = conninfo

    def __enter__(self):
        import psycopg2

        from tests.fixtures.database import psycopg2_arguments

        self.connection = psycopg2.connect(**psycopg2_arguments(self.conninfo))
        self.connection.cursor().execute("SELECT * FROM t")

    def __exit__(self, *_):
        self.connection.close()
