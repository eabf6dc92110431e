"""``dbctl indexes``: findings for a person, a script and a pipeline."""

from __future__ import annotations

from tests.fixtures.database import execute


def test_a_database_made_by_our_migrations_has_nothing_to_find_fault_with(dbctl):
    result = dbctl("indexes", "--fail", "invalid", "duplicate", "redundant", "missing-fk", "missing")
    assert result.code == 0
    assert result.stdout == "nothing to find fault with\n"


def test_findings_are_exit_0_and_1_only_when_asked_for(dbctl, conninfo):
    execute(conninfo, "CREATE INDEX again ON users (id)")
    assert dbctl("indexes").code == 0
    result = dbctl("indexes", "duplicate", "--fail", "--format", "json")
    assert result.code == 1
    [found] = result.json()
    assert found["kind"] == "duplicate"
    assert found["sql"] == "DROP INDEX CONCURRENTLY public.again;"
    assert "op.drop_index('again', table_name='users'" in found["alembic"]


def test_a_pipe_gets_a_row_a_finding_with_its_fix(dbctl, conninfo):
    execute(conninfo, "CREATE INDEX again ON users (id)")
    header, row = dbctl("indexes", "duplicate").stdout.splitlines()
    assert header.split("\t")[-1] == "fix"
    assert row.split("\t")[-1] == "DROP INDEX CONCURRENTLY public.again;"
    assert "autocommit_block" in dbctl("indexes", "duplicate", "--alembic").stdout


def test_names_that_a_terminal_would_obey_are_escaped(dbctl, conninfo):
    execute(conninfo, 'CREATE INDEX "a\x1b[31m" ON users (id)')
    assert "\x1b" not in dbctl("indexes", "duplicate").stdout


def test_an_unknown_kind_is_wrong_usage(dbctl):
    assert dbctl("indexes", "wrong").code == 2


def test_a_standby_of_the_settings_that_is_away_is_said_and_nothing_called_unused(dbctl, conninfo, tmp_path):
    execute(conninfo, "CREATE INDEX idle ON users (full_name)")
    alone = dbctl("indexes", "unused", "--unused-for", "0", "--format", "json")
    assert "public.idle" in {one["index"] for one in alone.json()}
    away = {"DBCTL_DATABASE__REPLICAS": f"{tmp_path}:5499"}
    result = dbctl("indexes", "unused", "--unused-for", "0", "--format", "json", env=away)
    assert (result.code, result.json()) == (0, [])
    assert f"standby {tmp_path}:5499 was not asked: can't connect" in result.stderr
