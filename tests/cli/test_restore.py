"""``dbctl restore``: asks before it replaces, and leaves all as it was when it fails."""

from __future__ import annotations

import signal
import time

import pytest

from tests.backup.conftest import SLOW_TO_RESTORE
from tests.fixtures.database import execute


@pytest.fixture
def postgres(conninfo):
    """The maintenance database; what restores left beside ours is dropped afterwards."""
    postgres = conninfo.with_database("postgres")
    yield postgres
    for name in beside(postgres, conninfo):
        execute(postgres, f'DROP DATABASE "{name}" WITH (FORCE)')


def beside(postgres, conninfo) -> list[str]:
    """Databases named after ours, without ours."""
    found = execute(postgres, "SELECT datname FROM pg_database ORDER BY 1")
    return [name for (name,) in found if name.startswith(f"{conninfo.database}_")]


def change(conninfo) -> None:
    """Something that a backup made before does not have."""
    execute(conninfo, "CREATE TABLE later ()")


def changed(conninfo) -> bool:
    return execute(conninfo, "SELECT to_regclass('later') IS NOT NULL") == [(True,)]


def test_the_backup_takes_the_databases_place_when_its_name_is_confirmed(dbctl, conninfo, postgres):
    dbctl("backup")
    change(conninfo)
    result = dbctl("restore", "latest", "--confirm", conninfo.database, "--format", "json")
    assert result.code == 0, result.stderr
    assert not changed(conninfo)
    assert beside(postgres, conninfo) == [result.json()["kept"]]
    assert changed(conninfo.with_database(result.json()["kept"]))
    assert f"database {conninfo.database}" in result.stderr.splitlines()[0]


def test_undo_brings_the_replaced_database_back_when_its_name_is_confirmed(dbctl, conninfo, postgres):
    dbctl("backup")
    change(conninfo)
    at = "9999-01-01T00:00:00Z"
    assert dbctl("restore", "--at", at, "--confirm", conninfo.database).code == 0
    assert dbctl("restore", "--undo", "--yes").code == 3
    undone = dbctl("restore", "--undo", "--confirm", conninfo.database, "--format", "json")
    assert undone.code == 0, undone.stderr
    assert changed(conninfo)
    assert beside(postgres, conninfo) == [undone.json()["aside"]]


@pytest.mark.parametrize("arguments", [(), ("latest", "--at", "2026-11-22T17:15:00Z"), ("--at", "noon")])
def test_which_backup_must_be_said_once(dbctl, conninfo, postgres, arguments):
    assert dbctl("restore", *arguments, "--confirm", conninfo.database).code == 2


@pytest.mark.parametrize("confirm", [(), ("--yes",), ("--confirm", "another")])
def test_without_the_name_nothing_happens(dbctl, conninfo, postgres, confirm):
    dbctl("backup")
    change(conninfo)
    result = dbctl("restore", "latest", *confirm)
    assert result.code == 3
    assert changed(conninfo)
    assert beside(postgres, conninfo) == []


def test_beside_asks_nothing(dbctl, conninfo, postgres):
    dbctl("backup")
    change(conninfo)
    name = f"{conninfo.database}_copy"
    result = dbctl("restore", "latest", "--as", name)
    assert result.code == 0, result.stderr
    assert not changed(conninfo.with_database(name))
    assert f'DROP DATABASE "{name}"' in result.stdout
    taken = dbctl("restore", "latest", "--as", name)
    assert taken.code == 6
    assert "--as" in taken.stderr


def test_a_protected_environment_wants_its_own_name(dbctl, conninfo, postgres):
    dbctl("backup")
    protected = {"DBCTL_PROTECTED": "true"}
    name = f"{conninfo.database}_copy"
    for confirm in ((), ("--yes",), ("--confirm", conninfo.database)):
        for arguments in (("restore", "latest"), ("restore", "latest", "--as", name)):
            refused = dbctl(*arguments, *confirm, env=protected)
            assert refused.code == 3
    assert beside(postgres, conninfo) == []
    assert dbctl("restore", "latest", "--confirm", "local", env=protected).code == 0


def test_another_environments_backup_is_refused_unless_it_is_named(dbctl, conninfo, postgres):
    made = dbctl("backup", "-e", "test", env={"DBCTL_BACKUP__TARGET": "shared"}).stdout.strip()
    shared = {"DBCTL_BACKUP__TARGET": "shared"}
    arguments = ("restore", made, "--as", f"{conninfo.database}_copy")
    refused = dbctl(*arguments, env=shared)
    assert refused.code == 3
    assert "--from-environment test" in refused.stderr
    named = (*arguments, "--from-environment", "test")
    refused = dbctl(*named, env=shared)
    assert refused.code == 3
    assert "--unmasked" in refused.stderr
    assert dbctl(*named, "--unmasked", env=shared).code == 0


def test_data_goes_into_another_environment_masked_or_because_somebody_insists(
    dbctl, conninfo, postgres, project
):
    execute(conninfo, "INSERT INTO users (username, email) VALUES ('ada', 'ada@example.com')")
    dbctl("backup")
    copy = f"{conninfo.database}_copy"
    arguments = ("restore", "latest", "--to-env", "test", "--as", copy)
    refused = dbctl(*arguments)
    assert refused.code == 3
    assert "--mask" in refused.stderr
    with (project / "configs" / "base.toml").open("a") as settings:
        settings.write(
            '\n[backup.mask]\n"public.users.full_name" = "keep"\n[backup.mask.users]\nusername = "text"\n'
        )
    done = dbctl(*arguments, "--mask")
    assert done.code == 0, done.stderr
    assert done.stderr.splitlines()[0].startswith("test: ")
    assert execute(conninfo.with_database(copy), "SELECT count(*) FROM users WHERE email ~ 'example'") == [
        (0,)
    ]
    # A partial way round the guard would be one, too.
    assert dbctl("restore", "latest", "--to-env", "test", "--table", "users").code == 3
    assert dbctl("restore", "latest", "--table", "users", "--mask").code == 2


def test_a_table_comes_back_beside_the_live_one(dbctl, conninfo, postgres):
    execute(conninfo, "INSERT INTO users (username, email) VALUES ('ada', 'ada@example.com')")
    dbctl("backup")
    execute(conninfo, "DELETE FROM users")
    done = dbctl("restore", "latest", "--table", "users")
    assert done.code == 0, done.stderr
    copy_sql = next(line for line in done.stdout.splitlines() if "INSERT INTO" in line)
    execute(conninfo, copy_sql.strip())
    assert execute(conninfo, "SELECT username FROM users") == [("ada",)]
    *_, swap = done.stdout.partition("in the place of the live ones")
    assert "\n  BEGIN;\n" in swap
    assert "\n  COMMIT;\n" in swap


def test_a_damaged_backup_is_refused_before_the_database_is_asked(dbctl, conninfo, postgres, project):
    made = dbctl("backup").stdout.strip()
    archive = project / ".dbctl/backups" / made / "archive.dump"
    data = bytearray(archive.read_bytes())
    data[-1] ^= 1
    archive.write_bytes(data)
    result = dbctl("restore", made, "--confirm", conninfo.database)
    assert result.code == 6
    assert "SHA-256" in result.stderr
    assert beside(postgres, conninfo) == []
    # Nobody is to be told tomorrow that it is good.
    (listed,) = dbctl("backup", "list", "--format", "json").json()
    assert (listed["status"], dbctl("restore", "latest", "--as", "copy").code) == ("damaged", 6)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_restore_leaves_all_as_it_was(dbctl, dbctl_process, conninfo, postgres, number):
    execute(conninfo, *SLOW_TO_RESTORE)
    dbctl("backup")
    change(conninfo)
    process = dbctl_process.start("restore", "latest", "--confirm", conninfo.database)
    wait_for_pg_restore(postgres)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number, error
    assert beside(postgres, conninfo) == []
    assert changed(conninfo)


def test_a_killed_restore_leaves_the_database_and_the_next_one_tidies(
    dbctl, dbctl_process, conninfo, postgres
):
    dbctl("backup")
    first = dbctl("backup", "show", "--format", "json").json()["id"]
    execute(conninfo, *SLOW_TO_RESTORE)
    dbctl("backup")
    change(conninfo)
    process = dbctl_process.start("restore", "latest", "--confirm", conninfo.database)
    wait_for_pg_restore(postgres)
    process.kill()
    process.communicate(timeout=60)
    assert changed(conninfo)
    assert len(beside(postgres, conninfo)) == 1
    result = dbctl("restore", first, "--confirm", conninfo.database, "--format", "json")
    assert result.code == 0, result.stderr
    assert beside(postgres, conninfo) == [result.json()["kept"]]


def wait_for_pg_restore(postgres) -> None:
    """Wait until a restore is at work, in the place where it sleeps."""
    deadline = time.monotonic() + 30
    while not execute(postgres, "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


NEWER = """revision = "0004"
down_revision = "0005_users_seedings"

from alembic import op

def upgrade():
    op.execute("CREATE TABLE newer ()")
    op.execute("{more}")

def downgrade():
    op.execute("DROP TABLE newer")
"""


def test_a_backup_that_is_behind_the_code_is_told_and_migrated_before_the_swap(
    dbctl, conninfo, postgres, project
):
    dbctl("backup")
    file = project / "migrations" / "versions" / "0004_newer.py"
    file.write_text(NEWER.format(more="SELECT 1"))
    copy = conninfo.with_database(f"{conninfo.database}_copy")
    told = dbctl("restore", "latest", "--as", f"{conninfo.database}_plain")
    assert "1 revision behind the code (0004): --migrate" in told.stderr
    done = dbctl("restore", "latest", "--as", copy.database, "--migrate")
    assert done.code == 0, done.stderr
    assert execute(copy, "SELECT to_regclass('newer') IS NOT NULL, version_num FROM alembic_version") == [
        (True, "0004")
    ]
    assert execute(conninfo, "SELECT to_regclass('newer') IS NULL") == [(True,)]
    file.write_text(NEWER.format(more="SELECT 1/0"))
    before = beside(postgres, conninfo)
    failed = dbctl("restore", "latest", "--migrate", "--confirm", conninfo.database)
    assert failed.code == 6
    assert beside(postgres, conninfo) == before


def test_a_backup_of_newer_code_is_not_migrated(dbctl, conninfo, postgres, project):
    execute(conninfo, "UPDATE alembic_version SET version_num = '9999'")
    dbctl("backup")
    result = dbctl("restore", "latest", "--migrate", "--confirm", conninfo.database)
    assert result.code == 3
    assert "9999" in result.stderr
    assert beside(postgres, conninfo) == []
