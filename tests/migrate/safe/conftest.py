"""A project whose models change: written down, applied, undone and compared at a real database."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from dbctl.migrate.author import autogenerate_revision
from dbctl.migrate.model import Created
from dbctl.migrate.runner import down, up
from dbctl.migrate.site import Site
from tests.fixtures.database import execute
from tests.migrate.conftest import PROJECTS, MakeSite, quiet

_MODELS = """
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

metadata = sa.MetaData({metadata})

{tables}
"""
_ENV = """
import runpy
from pathlib import Path

metadata = runpy.run_path(str(Path(__file__).with_name("models.py")))["metadata"]
"""


@dataclass
class Models:
    """A project at its database. ``Models.are`` writes the models, ``new`` the revisions that they need."""

    site: Site
    folder: Path

    def are(self, tables: str, metadata: str = "") -> None:
        """Let the project's models be these."""
        text = _MODELS.format(metadata=metadata, tables=dedent(tables))
        (self.folder / "migrations" / "models.py").write_text(text)

    def configure(self, options: str, before: str = "") -> None:
        """Give env.py's ``context.configure`` these options too."""
        env = self.folder / "migrations" / "env.py"
        env.write_text(
            dedent(before)
            + env.read_text().replace("target_metadata=metadata", f"target_metadata=metadata, {options}")
        )

    async def begin(self, tables: str, metadata: str = "") -> None:
        """Let the database have the tables of these models already."""
        self.are(tables, metadata)
        await self.new("begin", plain=True)
        await self.up()

    async def new(self, message: str = "change", *, plain: bool = False) -> tuple[Created, ...]:
        """Autogenerate."""
        return await autogenerate_revision(self.site, message, head="head", branch_label=None, plain=plain)

    async def up(self, destination: str = "heads") -> None:
        await up(self.site, destination, progress=quiet)

    async def down(self, destination: str) -> None:
        await down(self.site, destination, progress=quiet)

    def differences(self) -> list[Any]:
        """What autogenerate would still find."""
        import runpy

        models = runpy.run_path(str(self.folder / "migrations" / "models.py"))
        engine = create_engine(self.site.address.psycopg2_url())
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"include_schemas": True})
            found = compare_metadata(context, models["metadata"])
        engine.dispose()
        return [each for each in found if "alembic_version" not in str(each)]

    def execute(self, *statements: str) -> list[Any]:
        """Run SQL at the database."""
        return execute(self.site.address, *statements)

    def catalog(self) -> list[Any]:
        """Constraints, indexes and columns, as PostgreSQL describes them."""
        return self.execute(_CATALOG)


_CATALOG = """
SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid), convalidated
  FROM pg_constraint WHERE connamespace::regnamespace::text !~ '^(pg_|information)'
UNION ALL
SELECT 'index', indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid
  FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid WHERE relnamespace::regnamespace::text !~ '^(pg_|information)'
UNION ALL
SELECT 'column', attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod), attnotnull
  FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
 WHERE relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped AND relnamespace::regnamespace::text !~ '^(pg_|information)'
ORDER BY 1, 2, 3
"""

MakeModels = Callable[..., Models]


@pytest.fixture
def made(site: MakeSite, tmp_path: Path) -> MakeModels:
    """``made("async_template")``: a project with that env.py and no revisions, at a fresh database."""

    def make(template: str = "sync_template") -> Models:
        folder = tmp_path / "project"
        shutil.copytree(PROJECTS / template, folder, ignore=shutil.ignore_patterns("__pycache__"))
        for revision in (folder / "migrations" / "versions").glob("*"):
            revision.unlink()
        env = folder / "migrations" / "env.py"
        text = env.read_text().replace(
            "target_metadata=None", "target_metadata=metadata, include_schemas=True"
        )
        env.write_text(_ENV + text)
        if not (mako := folder / "migrations" / "script.py.mako").exists():
            shutil.copy(PROJECTS / "sync_template" / "migrations" / "script.py.mako", mako)
        return Models(site("", config=folder / "alembic.ini"), folder)

    return make


@pytest.fixture
def models(made: MakeModels) -> Models:
    """A project with Alembic's usual env.py."""
    return made()


def body(created: Created, function: str = "upgrade") -> str:
    """What a function of the file does, without Alembic's own comments."""
    text = created.path.read_text().split(f"def {function}() -> None:\n")[1].split("\n\n\ndef ")[0]
    kept = [line for line in dedent(text).splitlines() if not line.startswith("# ###")]
    return "\n".join(kept).strip()
