"""A project that can go back, written for one test, at a database that it has migrated."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent, indent

import pytest

from dbctl.database import ConnInfo
from tests.fixtures.database import execute
from tests.migrate.conftest import PROJECTS

# A downgrade's body; the upgrade is not run: the database is made as it would have left it.
Bodies = Callable[..., Path]


@pytest.fixture
def undoable(tmp_path: Path, empty_conninfo: ConnInfo) -> Bodies:
    """``undoable(sql, body, …)``: the ini of a project r0, r1 … whose downgrades are the bodies, r0 the last to stay.

    The database gets the SQL and stands at the last revision.
    """

    def make(setup: str, *bodies: str) -> Path:
        folder = tmp_path / "undoable"
        ignored = shutil.ignore_patterns("versions", "__pycache__")
        shutil.copytree(PROJECTS / "sync_template", folder, ignore=ignored)
        versions = folder / "migrations" / "versions"
        versions.mkdir()
        for number, body in enumerate(("pass", *bodies)):
            down = repr(f"r{number - 1}") if number else None
            head = f'"""Revision {number}."""\n\nimport sqlalchemy as sa\nfrom alembic import op\n\n'
            ids = f'revision = "r{number}"\ndown_revision = {down}\n\n\ndef upgrade():\n    pass\n\n\n'
            code = f"def downgrade():\n{indent(dedent(body).strip(), '    ')}\n"
            (versions / f"r{number}.py").write_text(f"{head}{ids}{code}")
        execute(
            empty_conninfo,
            setup,
            "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)",
            f"INSERT INTO alembic_version VALUES ('r{len(bodies)}')",
        )
        return folder / "alembic.ini"

    return make
