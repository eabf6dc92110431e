"""What a command may import: start-up is paid by everybody, at every call."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.fixtures.database import ROOT

HEAVY = {"obstore", "boto3", "sqlalchemy", "alembic", "asyncpg", "psycopg2", "pydantic_settings", "argon2"}


def modules_after(*arguments: str, **environ: str) -> set[str]:
    """The top-level packages and dbctl's modules that a run of dbctl leaves in sys.modules."""
    script = (
        "import sys, atexit\n"
        "atexit.register(lambda: sys.stderr.write('\\n=' + ' '.join(sys.modules)))\n"
        f"sys.argv = ['dbctl', *{arguments!r}]\n"
        "from dbctl.__main__ import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environ},
    )
    return set(done.stderr.rpartition("\n=")[2].split())


def test_version_imports_nothing_but_itself():
    modules = modules_after("--version")
    assert "dbctl" in modules
    assert not {"typer", "rich", "sqlalchemy", "asyncio", "tomllib"} & modules
    assert {name for name in modules if name.startswith("dbctl")} == {"dbctl", "dbctl.__main__"}


@pytest.mark.parametrize("arguments", [("--help",), (), ("usrs",)])
def test_help_imports_no_group_and_nothing_heavy(arguments):
    modules = modules_after(*arguments)
    assert "dbctl.cli.root" in modules
    assert not (HEAVY | {"asyncio", "rich"}) & modules
    assert "dbctl.cli.users" not in modules


def test_completion_of_commands_imports_only_the_group_that_it_completes():
    environ = {"_DBCTL_COMPLETE": "complete_bash", "COMP_WORDS": "dbctl users se", "COMP_CWORD": "2"}
    modules = modules_after(**environ)
    assert "dbctl.cli.users" in modules
    assert "dbctl.cli.backup" not in modules
    assert not HEAVY & modules


@pytest.mark.parametrize(
    "group",
    [
        "env", "server", "migrate", "users", "health", "pool", "locks", "queries", "indexes", "backup", "restore",
        "quickstart",
    ],
)  # fmt: skip
def test_a_groups_help_imports_nothing_heavy(group):
    assert not HEAVY & modules_after(group, "--help")


def test_leaving_looks_through_nothing_that_was_loaded():
    script = (
        "import atexit, gc, sys\n"
        "atexit.register(lambda: sys.stderr.write(f'{len(gc.get_objects())} {gc.get_freeze_count()}'))\n"
        "sys.argv = ['dbctl', 'migrate', '--help']\n"
        "from dbctl.__main__ import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    looked_through, left_alone = map(int, done.stderr.split())
    assert looked_through < left_alone / 10


def test_listing_environments_and_backups_does_not_load_the_database_layer():
    assert not {"sqlalchemy", "asyncpg", "alembic"} & modules_after("env", "list")


def test_health_does_not_load_alembic():
    assert "alembic" not in modules_after("health", DATABASE_URL="postgresql://127.0.0.1:1/none")
