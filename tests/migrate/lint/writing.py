"""Writes Alembic projects, revision by revision."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ENV_PY = """
from alembic import context
from sqlalchemy import create_engine, pool

engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = '''"""{message}"""

import sqlalchemy as sa
from alembic import op

revision = {id!r}
down_revision = {down!r}


def upgrade():
{upgrade}


def downgrade():
    op.execute("SELECT 1")
'''
GIT = {
    "GIT_AUTHOR_NAME": "ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
}


@dataclass
class Written:
    """A project in a folder; ``add`` writes a revision that follows the last one."""

    folder: Path
    ids: list[str] = field(default_factory=list)

    @classmethod
    def make(cls, folder: Path) -> Written:
        """A project without a revision yet."""
        made = cls(folder)
        made.versions.mkdir(parents=True)
        (folder / "migrations" / "env.py").write_text(ENV_PY)
        made.config.write_text("[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n")
        return made

    @property
    def config(self) -> Path:
        return self.folder / "alembic.ini"

    @property
    def versions(self) -> Path:
        return self.folder / "migrations" / "versions"

    def add(
        self, id_: str, upgrade: str = "pass", *, down: object = ..., message: str = "", tail: str = ""
    ) -> Path:
        down = (self.ids[-1] if self.ids else None) if down is ... else down
        body = "\n".join(f"    {line}" for line in upgrade.splitlines())
        file = self.versions / f"{id_}.py"
        file.write_text(REVISION.format(id=id_, down=down, message=message or id_, upgrade=body) + tail)
        self.ids.append(id_)
        return file

    def git(self, *words: str) -> str:
        argv = ["git", "-C", str(self.folder), *words]
        return subprocess.run(
            argv, check=True, capture_output=True, text=True, env={**os.environ, **GIT}
        ).stdout

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "work")
